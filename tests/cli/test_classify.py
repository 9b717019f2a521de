"""`mnasnet classify` as a person meets it."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.build import Builder
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.images import load_pixels
from mnasnet_deploy.export.runtime import new_interpreter
from mnasnet_deploy.export.synthetic import synthetic_calibration
from mnasnet_deploy.weights.canonical import Weights, WeightSource
from mnasnet_deploy.weights.initial import initial_weights

Command = Callable[..., Any]

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
CAT, COFFEE = PHOTOS / "chelsea.jpg", PHOTOS / "coffee.jpg"
NAMES = tuple(f"thing {number}" for number in range(10))


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export a small network and give its path."""
    network = build_network(VARIANTS["small"].spec, multiplier=0.35, resolution=64, classes=10)
    folder = tmp_path_factory.mktemp("models")

    @cache
    def export(
        scheme: Any = "float32",
        *,
        trained: bool = False,
        labels: tuple[str, ...] | None = NAMES,
        **options: Any,
    ) -> Path:
        weights = initial_weights(network)
        if trained:
            weights = Weights(
                tensors=weights.tensors, source=WeightSource(label="mine", trained=True)
            )
        builder = Builder(
            network,
            weights,
            Options(**options),
            calibration=synthetic_calibration(4, 64),
            labels=labels,
        )
        path = folder / f"{len(list(folder.iterdir()))} größe.tflite"
        path.write_bytes(builder.build(scheme).data)
        return path

    return export


def _by_hand(path: Path, photo: Path) -> np.ndarray:
    """Feed the file the plain way; returns its real scores."""
    facts = modelfile.read(path).facts
    assert facts is not None
    interpreter = new_interpreter(path=path)
    image = facts.contract.feed(load_pixels(photo, 64))
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
    interpreter.invoke()
    return facts.contract.read(
        interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    )


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("float32", {}),
        ("float32", {"input": "normalized"}),
        ("dynamic-int8", {}),
        ("int8", {}),
        ("int8", {"io": "int8"}),
        ("int8", {"io": "float32"}),
        ("int8", {"softmax": True}),
    ],
)
@pytest.mark.slow
def test_every_file_is_fed_as_it_asks_and_its_best_classes_are_named(
    make: Command, mnasnet: Command, scheme: str, options: dict[str, Any]
) -> None:
    path = make(scheme, **options)
    done = mnasnet("classify", path, CAT, COFFEE, "--top", "3", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert [entry["image"] for entry in found] == [str(CAT), str(COFFEE)]
    for entry, photo in zip(found, (CAT, COFFEE), strict=True):
        scores = _by_hand(path, photo)
        order = np.argsort(-scores, kind="stable")[:3]
        assert [best["class"] for best in entry["top"]] == order.tolist()
        assert [best["name"] for best in entry["top"]] == [NAMES[number] for number in order]
        assert [best["score"] for best in entry["top"]] == pytest.approx(scores[order].tolist())


def test_logits_come_with_the_probabilities_they_stand_for(make: Command, mnasnet: Command) -> None:
    (logits,) = json.loads(mnasnet("classify", make(), CAT, "--top", "10", "--json").out)
    softmax = make(softmax=True)
    (given,) = json.loads(mnasnet("classify", softmax, CAT, "--top", "10", "--json").out)
    assert (logits["output"], given["output"]) == ("logits", "probabilities")
    assert sum(best["probability"] for best in logits["top"]) == pytest.approx(1)
    for one, other in zip(logits["top"], given["top"], strict=True):
        assert one["class"] == other["class"]
        assert one["probability"] == pytest.approx(other["score"], rel=1e-4)
        assert other["score"] == other["probability"]


def test_json_says_which_file_it_was_and_that_it_is_untrained(
    make: Command, mnasnet: Command
) -> None:
    path = make()
    (entry,) = json.loads(mnasnet("classify", path, CAT, "--json").out)
    assert entry["schema"] == "mnasnet.classification/1"
    assert entry["file"] == path.name
    assert entry["sha256"] == modelfile.read(path).sha256
    assert entry["untrained"] is True
    assert len(entry["top"]) == 5


def test_classes_of_untrained_weights_come_with_a_warning(make: Command, mnasnet: Command) -> None:
    done = mnasnet("classify", make(), CAT)
    assert done.err.count("warning: ") == 1
    assert "untrained weights (random:0): its classes mean nothing" in done.err
    done = mnasnet("classify", make(trained=True), CAT)
    assert done.err == ""


def test_a_person_reads_rank_class_and_probability(make: Command, mnasnet: Command) -> None:
    done = mnasnet("classify", make(trained=True), CAT, COFFEE, "--top", "2")
    lines = done.out.splitlines()
    assert lines[0] == str(CAT)
    assert lines[1].split() == ["class", "probability", "logit"]
    assert lines[2].split()[0] == "1"
    assert " thing " in lines[2]
    assert lines[4] == str(COFFEE)
    assert len(lines) == 8


def test_without_labels_classes_are_numbers(make: Command, mnasnet: Command) -> None:
    path = make(labels=None)
    (entry,) = json.loads(mnasnet("classify", path, CAT, "--top", "1", "--json").out)
    assert entry["top"][0]["name"] is None
    line = mnasnet("classify", path, CAT, "--top", "1").out.splitlines()[2]
    assert line.split()[:2] == ["1", str(entry["top"][0]["class"])]


def test_more_classes_than_there_are_is_all_of_them(make: Command, mnasnet: Command) -> None:
    (entry,) = json.loads(mnasnet("classify", make(), CAT, "--top", "99", "--json").out)
    assert len(entry["top"]) == 10


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"", "is empty"), (b"\xff\xd8\xff", "not a JPEG or PNG")],
    ids=["missing", "empty", "broken"],
)
def test_an_image_that_cannot_be_used_is_one_line_and_nothing_is_printed(
    make: Command, mnasnet: Command, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    done = mnasnet("classify", make(), CAT, path)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert "photo.jpg" in done.err
    assert reason in done.err


def test_a_file_that_changed_since_it_was_written_is_not_run(
    make: Command, mnasnet: Command, tmp_path: Path
) -> None:
    data = bytearray(make().read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(data)
    done = mnasnet("classify", changed, CAT)
    assert done.code == 2
    assert "changed since it was written" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--top", "0"), ("--top", "x")])
def test_a_number_of_classes_that_is_none_is_wrong_input(
    make: Command, mnasnet: Command, arguments: tuple[str, ...]
) -> None:
    done = mnasnet("classify", make(), CAT, *arguments)
    assert done.code == 2
    assert "--top" in done.err


def test_a_model_of_others_is_refused_because_nobody_knows_how_to_feed_it(
    mnasnet: Command, tmp_path: Path
) -> None:
    from mnasnet_deploy.export.flatfile import FlatModel, FlatOperator, FlatTensor, pack

    model = FlatModel(
        tensors=[
            FlatTensor(name="x", shape=(1, 4), type="float32"),
            FlatTensor(name="y", shape=(1, 4), type="float32"),
        ],
        operators=[FlatOperator(kind="LOGISTIC", version=1, inputs=(0,), output=1)],
        input=0,
        output=1,
    )
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(pack(model, input_name="x", output_name="y"))
    done = mnasnet("classify", foreign, CAT)
    assert done.code == 2
    assert "foreign.tflite was not written by this tool" in done.err


@pytest.mark.processes
@pytest.mark.slow
def test_the_installed_command_prints_results_only_on_standard_output(
    make: Command, mnasnet_process: Command
) -> None:
    done = mnasnet_process("classify", make(), CAT, "--json")
    assert done.code == 0
    assert len(json.loads(done.out)) == 1
    assert done.err.count("\n") == 1  # the warning, and no chatter of the runtime
