"""From requests to files: whole, verified, said what they are, and never half there."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mnasnet_deploy.errors import VerificationError
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.naming import SCHEMES
from mnasnet_deploy.export.pipeline import Request, export_all, export_network
from mnasnet_deploy.export.synthetic import verification_images
from mnasnet_deploy.export.verify import verify
from mnasnet_deploy.weights.canonical import Weights, write_safetensors
from mnasnet_deploy.weights.initial import initial_weights

from .building import builder_of, calibration, claimed_trained, lived_in, small_network

pytestmark = pytest.mark.slow


def request(out: Path, **changes: object) -> Request:
    base = Request(
        network=small_network(),
        weights="random",
        schemes=SCHEMES,
        options=Options(),
        calibration=calibration(),
        out=out,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_every_file_has_a_sidecar_that_tells_its_story(tmp_path: Path) -> None:
    outcomes = export_network(request(tmp_path / "größe 1" / "models"))
    assert [outcome.status for outcome in outcomes] == ["written"] * 4
    for outcome in outcomes:
        sidecar = json.loads(outcome.path.with_suffix(".json").read_text())
        model = modelfile.read(outcome.path)
        assert model.intact
        assert sidecar["sha256"] == model.sha256
        assert sidecar["facts"]["weights"]["trained"] is False
        assert sidecar["verification"]["images"] == 8
        assert sidecar["verification"]["agreement"] is None  # untrained
        assert str(tmp_path) not in json.dumps(sidecar)
    assert len(sidecar["calibration"]["images"]) == 8
    folder = outcomes[0].path.parent
    assert sorted(path.suffix for path in folder.iterdir()) == [".json"] * 4 + [".tflite"] * 4


def test_the_same_recipe_is_up_to_date_and_touches_nothing(tmp_path: Path) -> None:
    export_network(request(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {o.status for o in export_network(request(tmp_path))} == {"up to date"}
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "random:1"},
        {"options": Options(softmax=True)},
        {"calibration": calibration(9)},
        {"ranges": "percentile:95"},
        {"labels": tuple("abcdefghij")},
        {"network": small_network(classes=11)},
    ],
    ids=str,
)
def test_another_recipe_is_not_overwritten_without_force(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    (first,) = export_network(request(tmp_path, schemes=("int8",)))
    content = first.path.read_bytes()
    other = request(tmp_path, schemes=("int8",), **changes)
    (refused,) = export_network(other)
    assert (refused.status, refused.exit_code) == ("failed", 2)
    assert "--force" in refused.error
    assert first.path.read_bytes() == content
    (beside,) = export_network(replace(other, suffix="mine"))
    assert beside.status == "written"
    (forced,) = export_network(replace(other, force=True))
    assert forced.status == "written"
    assert first.path.read_bytes() != content


def test_a_foreign_or_broken_target_is_not_overwritten_either(tmp_path: Path) -> None:
    wanted = request(tmp_path, schemes=("float32",))
    target = wanted.target("float32")
    target.write_bytes(b"someone's notes")
    (refused,) = export_network(wanted)
    assert (refused.status, refused.exit_code) == ("failed", 2)
    assert target.read_bytes() == b"someone's notes"


def test_a_lost_sidecar_is_made_again(tmp_path: Path) -> None:
    wanted = request(tmp_path, schemes=("float32",))
    export_network(wanted)
    sidecar = wanted.target("float32").with_suffix(".json")
    text = sidecar.read_text()
    sidecar.unlink()
    (again,) = export_network(wanted)
    assert again.status == "written"
    assert sidecar.read_text() == text


def narrow_and_wide(weights: Weights) -> Weights:
    """Weights that eight bits cannot hold: a huge channel no one reads beside small ones."""
    tensors = dict(weights.tensors)
    mean = tensors["blocks.5.project.bn.mean"].copy()
    mean[0] = 3e4
    unread = tensors["blocks.6.expand.kernel"].copy()
    unread[:, :, 0] = 0.0
    return replace(
        weights,
        tensors=tensors | {"blocks.5.project.bn.mean": mean, "blocks.6.expand.kernel": unread},
    )


def test_a_file_below_the_floor_is_not_left_behind_and_names_the_layer(tmp_path: Path) -> None:
    network = small_network()
    path = tmp_path / "w.safetensors"
    write_safetensors(path, claimed_trained(narrow_and_wide(initial_weights(network))))
    outcomes = export_network(
        request(tmp_path / "out", weights=str(path), schemes=("float32", "int8"))
    )
    assert [outcome.status for outcome in outcomes] == ["written", "failed"]
    assert outcomes[1].exit_code == 1
    assert "block5/project departs first" in outcomes[1].error
    names = [path.name for path in (tmp_path / "out").iterdir()]
    assert not any("int8" in name for name in names)


def test_a_contract_that_is_not_true_is_found(tmp_path: Path) -> None:
    builder = builder_of()
    built = builder.build("int8")
    path = tmp_path / "m.tflite"
    path.write_bytes(built.data)
    pixels = verification_images(64, 2)
    logits = builder.reference(pixels)
    verify(path, built.facts.contract, "int8", pixels, logits, trained=False)
    for change in (
        {"input_dtype": "int8"},
        {"output_scale": 0.5},
        {"output_zero_point": 3},
        {"resolution": 65},
        {"classes": 11},
    ):
        lie = replace(built.facts.contract, **change)  # type: ignore[arg-type]
        with pytest.raises(VerificationError, match="contract promises"):
            verify(path, lie, "int8", pixels, logits, trained=False)
    real = builder.build("float32")
    path.write_bytes(real.data)
    lie = replace(real.facts.contract, input="normalized")
    with pytest.raises(VerificationError, match="cosine"):
        verify(path, lie, "float32", pixels, logits, trained=False)


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    network = small_network()
    path = tmp_path / "w.safetensors"
    write_safetensors(path, lived_in(network))
    requests = [
        request(tmp_path, network=small_network(variant), weights=str(path), schemes=("float32",))
        for variant in ("b1", "a1")
    ]
    outcomes = list(export_all(requests))
    assert [outcome.status for outcome in outcomes] == ["failed", "written"]
    assert outcomes[0].exit_code == 2


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(tmp_path: Path) -> None:
    networks = [small_network("a1"), small_network("small"), small_network("b1")]
    for processes in (1, 2):
        requests = [request(tmp_path / str(processes), network=n) for n in networks]
        outcomes = list(export_all(requests, processes=processes))
        assert {outcome.status for outcome in outcomes} == {"written"}
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


@pytest.mark.processes
@pytest.mark.slow
def test_two_exports_into_one_folder_at_once_both_succeed(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("mnasnet")
    command = [
        str(script), "export", "--variant", "small", "--multiplier", "0.35", "--res", "64",
        "--float32", "--int8", "--calibration-samples", "8", "--out", str(tmp_path / "models"),
    ]  # fmt: skip
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
    for path in (tmp_path / "models").glob("*.tflite"):
        assert modelfile.read(path).intact
        sidecar = json.loads(path.with_suffix(".json").read_text())
        assert sidecar["sha256"] == modelfile.read(path).sha256
    assert len(list((tmp_path / "models").iterdir())) == 4


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_leaves_whole_files_only(tmp_path: Path, jobs: str) -> None:
    import signal

    script = Path(sys.executable).with_name("mnasnet")
    child = subprocess.Popen(
        [script, "export", "--grid", "--float32", "--float16", "--jobs", jobs, "--out", "models"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    child.stdout.readline()  # the first file is written
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors
    deadline = time.monotonic() + 20  # workers are told to stop; they clean up after themselves
    while list(tmp_path.glob("models/.*.part")) and time.monotonic() < deadline:
        os.sched_yield()
    assert not list(tmp_path.glob("models/.*.part"))
    written = list(tmp_path.glob("models/*.tflite"))
    assert written
    assert len(written) < 50
    assert all(modelfile.read(path).intact for path in written)
