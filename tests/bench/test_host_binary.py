"""`mnasnet bench --device host --benchmark-binary`: a program that prints runs the models here.

The program is the software phone's stand-in for benchmark_model, taken out of its phone: it really
runs the models with LiteRT, and prints what the true program prints.
"""

import json
import os
import sys
from pathlib import Path

import pytest

from mnasnet_deploy.bench.device import Device
from mnasnet_deploy.bench.host_binary import HostBinary
from mnasnet_deploy.results import store

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="the stand-in needs Linux"),
]

QUICK = ["--launches", "2", "--max-launches", "2", "--runs", "5", "--min-seconds", "0",
         "--warmup-runs", "1", "--warmup-seconds", "0"]  # fmt: skip
PHONE = Path(__file__).parents[1] / "phone"
PROGRAM = """\
#!{python}
import os, sys
from pathlib import Path
sys.path.insert(0, {phone!r})
from softphone import standin

class Still:
    def __init__(self, root, phone): pass
    def started(self, mask, threads): pass
    def stopped(self): pass
    def speed(self, mask): return 1.0

standin.STATE, standin.World = Path({state!r}), Still
code = standin.main({form!r}, sys.argv)
sys.stdout.flush()
os._exit(code)
"""


@pytest.fixture
def program(tmp_path):
    """`program(form, *rules)` makes that version of the program, with those faults."""

    def make(form="tf-2.19", *rules):
        state = tmp_path / "state"
        state.mkdir()
        (state / "model").write_text("pixel-8")
        (state / "online_mask").write_text("1")
        if rules:
            (state / "rules.json").write_text(json.dumps(rules))
        path = tmp_path / "benchmark_model"
        path.write_text(
            PROGRAM.format(python=sys.executable, phone=str(PHONE), state=str(state), form=form)
        )
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def folder(tmp_path, monkeypatch):
    inside = tmp_path / "work"
    inside.mkdir()
    monkeypatch.chdir(inside)
    return inside


def the_record():
    loaded = store.load(Path("results"))
    assert loaded.problems == ()
    (record,) = loaded.records
    return record


def test_it_is_a_device(program):
    device: Device = HostBinary(program(), patience_s=1)
    assert device.name == device.key == "host"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tf-2.19", "tf-2.12", "tf-2.3", "litert"])
def test_every_version_of_the_program_measures(mnasnet, folder, program, tiny_float32, form):
    binary = program(form)
    cpu = str(max(os.sched_getaffinity(0)))
    run = mnasnet("bench", tiny_float32, *QUICK, "--benchmark-binary", binary, "--cpus", cpu)
    assert run.code == 0, run.err
    record = the_record()
    assert record.device.kind == "host"
    assert record.device.runtime.startswith("benchmark_model ")
    assert len(record.device.runtime_sha256) == 64
    assert record.verdict == "noisy"
    assert len(record.launches) == 2
    for launch in record.launches:
        assert launch.summary is not None
        assert launch.summary.runs >= 5
        assert "STARTING!" in launch.output
    facts = " ".join(record.before.facts)
    compared = "its answer to a fixed image was compared with this computer's" in facts
    assert compared == (form not in ("litert", "tf-2.3"))
    assert "asked for xnnpack" in facts
    assert record.command.startswith("benchmark_model --graph=")
    assert str(folder) not in json.dumps(record.command)
    assert record.peak_memory_mib is not None


@pytest.mark.slow
def test_operators_are_shown_under_our_names(mnasnet, folder, program, tiny_float32):
    run = mnasnet("bench", tiny_float32, *QUICK, "--benchmark-binary", program(), "--json")
    assert run.code == 0, run.err
    record = the_record()
    shown = mnasnet("show", record.id, "--ops")
    assert shown.code == 0, shown.err
    assert "stem" in shown.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "code", "said"),
    [
        ({"do": "wrong-output"}, 1, "WRONG-OUTPUT"),
        ({"do": "crash", "after": -1}, 2, "does not run on this computer"),
        ({"do": "hang", "after": -1}, 2, "did not come back on this computer"),
        ({"do": "empty"}, 2, "does not run on this computer"),
    ],
)
def test_what_goes_wrong_is_named(mnasnet, folder, program, tiny_float32, rule, code, said):
    binary = program("tf-2.19", {"on": "benchmark", **rule})
    run = mnasnet(
        "bench", tiny_float32, *QUICK, "--benchmark-binary", binary, "--timeout", "2"
    )  # fmt: skip
    assert run.code == code, run.err
    assert said in run.out + run.err


@pytest.mark.slow
def test_a_gpu_that_does_not_run_is_no_gpu_column(mnasnet, folder, program, tiny_float32):
    binary = program("tf-2.19", {"on": "benchmark", "do": "fallback", "times": 100})
    run = mnasnet(
        "bench", tiny_float32, *QUICK, "--benchmark-binary", binary, "--delegate", "gpu"
    )  # fmt: skip
    assert run.code == 1
    assert the_record().verdict == "invalid"
    assert "NO-DELEGATE" in run.out


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [(b"\x7fELF of another world", 0o755, "Exec format error"), (b"#!/bin/sh\n", 0o644, "denied")],
)
def test_a_program_that_does_not_start_is_one_line(
    mnasnet, folder, tmp_path, tiny_float32, content, mode, said
):
    path = tmp_path / "program"
    path.write_bytes(content)
    path.chmod(mode)
    run = mnasnet("bench", tiny_float32, *QUICK, "--benchmark-binary", path)
    assert run.code == 3
    (line,) = run.err.splitlines()
    assert said in line
    assert "--benchmark-binary" in line
    assert list(folder.iterdir()) == []
