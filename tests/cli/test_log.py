"""`mnasnet log` gives the numbers of saved outputs, and says where there are none."""

import json
from pathlib import Path

import pytest

from mnasnet_deploy.results import store

pytestmark = pytest.mark.slow

LOGS = Path(__file__).parents[1] / "data" / "bench_logs"


def test_a_saved_output_is_read(mnasnet):
    run = mnasnet("log", LOGS / "057.log")
    assert run.code == 0
    assert run.out == (
        "057.log: inference 145.5 ms (mean), median 141.3 ms, 140.1 ms to 195.1 ms, 25 runs, "
        "init 92.32 ms, memory 73.4 MiB, XNNPACK ran 539 of 548 nodes\n"
    )


def test_as_json_it_has_every_field(mnasnet):
    run = mnasnet("log", LOGS / "049.log", LOGS / "076.log", "--json")
    good, bad = json.loads(run.out)
    assert run.code == 1
    assert good["schema"] == "mnasnet.log/1"
    assert (good["ok"], good["error_summary"], good["median_ms"]) == (True, None, 1239.807)
    assert (good["delegate"], good["memory_overall_mib"]) == (None, 109.832)
    assert (bad["ok"], bad["error_summary"]) == (False, "Failed to apply XNNPACK delegate.")
    assert bad["inference_avg_ms"] is None


def test_flags_that_were_not_known_are_a_warning(mnasnet):
    run = mnasnet("log", LOGS / "038.log")
    assert run.code == 0
    assert "does not know --allow_fp16" in run.err
    assert "GPU was asked for and did not run" in run.err


def test_operators_are_listed_on_demand(mnasnet):
    entry = json.loads(mnasnet("log", LOGS / "063.log", "--ops", "--json").out)[0]
    assert len(entry["operators"]) == 5
    assert entry["operators"][3]["kind"] == "Fully Connected (NC, PF32) GEMM"
    assert entry["operators"][3]["average_ms"] == 0.382


# ---- import


@pytest.fixture
def model(tmp_path, monkeypatch, mnasnet):
    """A folder to work in, with one exported file."""
    monkeypatch.chdir(tmp_path)
    assert mnasnet("export", "--multiplier", "0.35", "--res", "32").code == 0
    return Path("models") / "mnasnet-a1_0.35_32_float32.tflite"


def records():
    loaded = store.load(Path("results"))
    assert loaded.problems == ()
    return loaded.records


def test_saved_outputs_join_the_results_marked_as_taken_by_hand(mnasnet, model):
    on = ["--import", "--model", model, "--device-name", "Pixel 1"]
    run = mnasnet("log", LOGS / "057.log", LOGS / "057.log", *on)
    assert run.code == 0, run.err
    (record,) = records()
    assert run.out.startswith(f"Pixel 1  {model.name}  4 threads  xnnpack  141 ms [141, 141]")
    assert "noisy (FEW-LAUNCHES, IMPORTED)" in run.out
    assert record.imported
    assert (record.device.kind, record.device.name) == ("android", "Pixel 1")
    assert (record.settings.threads, record.settings.delegate) == (4, "xnnpack")
    assert record.artifact.network == "mnasnet-a1"
    assert [launch.median_ms for launch in record.launches] == [141.253] * 2
    assert record.launches[0].output.startswith((LOGS / "057.log").read_text()[:40])
    assert "057.log (file 2)" in record.before.facts[0]
    assert "Pixel 1" in mnasnet("table").out
    assert "IMPORTED" in mnasnet("results", "list").out
    row = json.loads(mnasnet("results", "list", "--json").out)[0]
    assert (row["imported"], row["mode"]) == (True, "")


def test_a_profiled_output_brings_its_operators(mnasnet, model):
    on = ["--import", "--model", model, "--device-name", "Pixel 1", "--threads", "2"]
    answer = json.loads(mnasnet("log", LOGS / "063.log", *on, "--json").out)
    (result,) = answer["results"]
    assert [reason.partition(":")[0] for reason in result["reasons"]] == [
        "FEW-LAUNCHES", "PROFILED", "IMPORTED",
    ]  # fmt: skip
    shown = mnasnet("show", result["id"], "--ops")
    assert shown.code == 0
    assert "Fully Connected (NC, PF32) GEMM  " in shown.out
    assert "imported from logs" in shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "MODEL"], "go with --import"),
        (["--import"], "needs --model FILE"),
        (["--import", "--model", "MODEL"], "--device-name NAME"),
        (["--import", "--model", "MODEL", "--device-name", " "], "--device-name NAME"),
        (["--import", "--model", "none.tflite", "--device-name", "A"], "none.tflite"),
        (
            ["--import", "--model", "MODEL", "--device-name", "A", "--threads", "3"],
            "057.log says threads 4, not 3",
        ),
        (
            ["--import", "--model", "MODEL", "--device-name", "A", "--delegate", "gpu"],
            "057.log says delegate xnnpack, not gpu",
        ),
        (
            [LOGS / "076.log", "--import", "--model", "MODEL", "--device-name", "A"],
            "076.log holds no result to import: Failed to apply XNNPACK delegate.",
        ),
    ],
)
def test_what_cannot_be_imported_is_one_line_and_writes_nothing(mnasnet, model, arguments, said):
    arguments = [model if word == "MODEL" else word for word in arguments]
    run = mnasnet("log", LOGS / "057.log", *arguments)
    assert run.code == 2
    (line,) = run.err.splitlines()
    assert said in line
    assert not Path("results").exists()


def test_a_file_without_any_result_ends_in_one(mnasnet, tmp_path):
    (tmp_path / "photo.log").write_bytes(bytes(range(256)))
    run = mnasnet("log", tmp_path / "photo.log")
    assert run.code == 1
    assert "no result" in run.out


def test_a_missing_file_is_wrong_input(mnasnet, tmp_path):
    run = mnasnet("log", tmp_path / "none.log")
    assert run.code == 2
    assert run.err.startswith("error: cannot read")
