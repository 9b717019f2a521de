"""`mnasnet log` gives the numbers of saved outputs, and says where there are none."""

import json
from pathlib import Path

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


def test_a_file_without_any_result_ends_in_one(mnasnet, tmp_path):
    (tmp_path / "photo.log").write_bytes(bytes(range(256)))
    run = mnasnet("log", tmp_path / "photo.log")
    assert run.code == 1
    assert "no result" in run.out


def test_a_missing_file_is_wrong_input(mnasnet, tmp_path):
    run = mnasnet("log", tmp_path / "none.log")
    assert run.code == 2
    assert run.err.startswith("error: cannot read")
