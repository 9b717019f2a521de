"""A software phone as a device of `mnasnet bench`, through the real adb."""

import json

import pytest
from softphone.faults import Fault

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_a_phone_is_measured_and_left_as_it_was(bench, phone_rig, tiny_float32, tiny_int8):
    phone = phone_rig.phone("pixel-8")
    before = phone.settings()
    run = bench(tiny_float32, tiny_int8, "--device", "adb")
    assert run.code == 0, run.err
    assert phone.settings() == before
    float32, int8 = sorted(bench.records, key=lambda record: record.artifact.file)
    assert float32.artifact.file == tiny_float32.name
    assert float32.device.kind == "software-phone"
    assert float32.device.name == "Pixel 8 (software phone)"
    assert float32.settings.cpus == (8,)
    assert float32.verdict == "noisy"
    assert {reason.partition(":")[0] for reason in float32.reasons} >= {"FEW-LAUNCHES"}
    assert phone.serial not in json.dumps([str(record) for record in bench.records])
    for record in (float32, int8):
        assert len(record.launches) == 2
        assert "STARTING!" in record.launches[0].output
        assert record.launches[0].summary.runs >= 5
        assert any("MHz on average" in fact for fact in record.launches[0].facts)
        assert any("was compared" in fact for fact in record.before.facts)
        assert {"stem", "classifier"} <= {operator.name for operator in record.operators}
        assert "taskset" not in record.command
        assert record.before.battery_percent is not None
        assert record.before.raw


def test_a_second_run_pushes_nothing(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-1")
    assert bench(tiny_float32, "--device", f"adb:{phone.serial}").code == 0
    phone.set_rules(Fault(on="push", do="fail", times=None, text="nothing is to be pushed"))
    run = bench(tiny_float32, "--device", f"adb:{phone.serial}")
    assert run.code == 0, run.err
    assert phone.fired() == []


@pytest.mark.parametrize("form", ["tf-2.3", "tf-2.12", "litert"])
def test_every_form_of_the_program_measures(bench, phone_rig, tiny_float32, form):
    phone_rig.phone("pixel-8")
    run = bench(tiny_float32, "--device", "adb", binary=form)
    assert run.code == 0, run.err
    (record,) = bench.records
    assert record.estimate.median_ms > 0


def test_a_wrong_answer_makes_the_number_invalid(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", match="output_filepath", do="wrong-output"))
    run = bench(tiny_float32, "--device", "adb")
    assert run.code == 1
    (record,) = bench.records
    assert record.verdict == "invalid"
    assert record.reasons[0].startswith("WRONG-OUTPUT")
