"""`mnasnet show FILE`: what a .tflite file is, takes and gives, and whether it is intact."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnasnet_deploy.arch.network import render_multiplier
from mnasnet_deploy.errors import InputError, ModelFileError

from . import console

if TYPE_CHECKING:
    from mnasnet_deploy.export.facts import Facts
    from mnasnet_deploy.export.modelfile import ModelFile
    from mnasnet_deploy.export.snippet import Language

__all__ = ["show_file"]

SCHEMA = "mnasnet.file/1"
_INTACT = {
    True: "intact: the checksums in it hold",
    False: "CHANGED since it was written: a checksum in it does not hold",
    None: "no checksum, cannot tell whether it is intact",
}


def show_file(path: Path, *, snippet: "Language | None", json: bool) -> None:
    """Print what is known of a file, or the code that feeds it.

    The file is parsed here and loaded by LiteRT in a child process, so a broken one harms nobody.

    Raises:
        ModelFileError: the file is broken, refused by LiteRT, or changed since it was written.
        InputError: a snippet was asked for a file without a contract.
    """
    from mnasnet_deploy.export import modelfile

    model = modelfile.read(path)
    if snippet is not None:
        _print_snippet(model, snippet)
        return
    problem = _load_problem(path)
    if json:
        console.emit_json(_mapping(model, problem))
    else:
        console.out(_text(model, problem))
    model.require_intact()
    if problem:
        raise ModelFileError(problem)


def _print_snippet(model: "ModelFile", language: "Language") -> None:
    from mnasnet_deploy.export.snippet import snippet

    model.require_intact()
    if model.facts is None:
        raise InputError(
            f"{model.path.name} was not written by this tool, so how to feed it is not known"
        )
    facts = model.facts
    text = snippet(language, model.path.name, facts.contract, facts.weights.preprocessing)
    console.out(text.rstrip())


def _load_problem(path: Path) -> str:
    from mnasnet_deploy.export.runtime import run_in_child

    try:
        run_in_child(path)
    except ModelFileError as error:
        return str(error)
    return ""


def _mapping(model: "ModelFile", problem: str) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "schema": SCHEMA,
        "file": model.path.name,
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "intact": model.intact,
        "loads": not problem,
        "problem": problem,
        "min_runtime": model.min_runtime,
        "inputs": [asdict(tensor) for tensor in model.inputs],
        "outputs": [asdict(tensor) for tensor in model.outputs],
        "operators": model.operator_counts(),
        "contract": model.facts.contract.line() if model.facts else None,
        "facts": asdict(model.facts) if model.facts else None,
    }


def _text(model: "ModelFile", problem: str) -> str:
    counts = model.operator_counts()
    operators = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    rows = [("file", f"{model.path.name}, {model.size_bytes:,} bytes")]
    rows.append(("sha256", model.sha256))
    rows.append(("state", _INTACT[model.intact]))
    rows.append(("LiteRT", problem or "loads and runs it"))
    if model.facts:
        rows += _fact_rows(model.facts)
    else:
        rows += [("input", _end(tensor)) for tensor in model.inputs]
        rows += [("output", _end(tensor)) for tensor in model.outputs]
    rows.append(("operators", f"{sum(counts.values())}: {operators}"))
    rows.append(("runtime", f"{model.min_runtime or 'unknown'} or newer"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _fact_rows(facts: "Facts") -> list[tuple[str, str]]:
    network, weights = facts.network, facts.weights
    trained = f"trained on {weights.dataset or 'unknown data'}" if weights.trained else "UNTRAINED"
    feed, _, read = facts.contract.line().partition("; ")
    rows = [
        ("network", f"{network.name}, multiplier {render_multiplier(network.multiplier)}, "
                    f"{network.resolution} px, {network.classes} classes"),
        ("scheme", facts.scheme),
        ("feed", feed.removeprefix("feed ")),
        ("read", read.removeprefix("read ")),
        ("counts", f"{network.params:,} parameters, {network.macs:,} MACs, "
                   f"{network.multi_adds:,.0f} multi-adds"),
        ("weights", f"{weights.label}, {trained}" + (f", {weights.licence}" * bool(weights.licence))
                    + f", sha256 {weights.sha256[:16]}"),
        ("photos", f"{weights.preprocessing}; padding {weights.padding}"),
    ]  # fmt: skip
    if facts.calibration:
        kind = "generated images (SYNTHETIC)" if facts.calibration.synthetic else "photos"
        rows.append(
            ("ranges", f"{facts.calibration.ranges} over {facts.calibration.images} {kind}, "
                       f"digest {facts.calibration.digest[:16]}")
        )  # fmt: skip
        rows += [("warning", text) for text in facts.calibration.warnings]
    rows.append(("labels", f"sha256 {facts.labels_sha256[:16]}" if facts.labels_sha256 else "none"))
    rows.append(("made by", f"{facts.tool}, engine {facts.engine}"))
    return rows


def _end(tensor: Any) -> str:
    text = f"{tensor.type.lower()} {list(tensor.shape)} '{tensor.name}'"
    if tensor.scale:
        text += f", real = (stored - {tensor.zero_point}) * {tensor.scale:.9g}"
    return text
