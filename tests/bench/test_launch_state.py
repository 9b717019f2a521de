"""A real launch of a real model between two readings, on a phone whose state changes meanwhile."""

import pytest
from softphone.faults import Fault

from mnasnet_deploy.bench.adb import find_adb
from mnasnet_deploy.bench.android_state import PREFLIGHT, read_preflight
from mnasnet_deploy.bench.clusters import choose, mask
from mnasnet_deploy.bench.prepare import apply, changes, restore
from mnasnet_deploy.bench.quick_state import around, clock_facts, load, take_states, voids

pytestmark = [pytest.mark.processes, pytest.mark.slow]

FOLDER = "/data/local/tmp/mnasnet"
CLOCK = "/sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq"


@pytest.fixture
def launch(module_rig, use_rig, tiny_float32):
    """`launch(mode, fault)`: what a launch on a fresh Pixel 8 gave, and why it is void."""

    def run(mode="stock", fault=None, allowed=()):
        phone = module_rig.phone("pixel-8")
        use_rig(module_rig)
        link = find_adb().link(phone.serial)
        link.push(module_rig.benchmark_binary(), f"{FOLDER}/benchmark_model")
        link.push(tiny_float32, f"{FOLDER}/m.tflite")
        found = phone.settings()
        state = read_preflight(link.shell(PREFLIGHT).out)
        cpus = choose(state, 4)
        apply(link, changes(state, mode, False, False, cpus))
        if fault:
            phone.set_rules(fault)
        done = link.shell(
            around(
                f"cd {FOLDER}; taskset {mask(cpus)} ./benchmark_model --graph=m.tflite "
                "--num_threads=4 --num_runs=20 --min_secs=0.3 --warmup_runs=1 --warmup_min_secs=0"
            )
        )
        phone.set_rules()
        (before, after), rest = take_states(done.out)
        assert "count=" in rest
        if not fault:
            assert restore(link) == ()
            assert phone.settings() == found
        reason = voids(before, after, cpus, mode, allowed)
        return before, after, cpus, reason

    return run


@pytest.mark.parametrize("mode", ["stock", "fixed"])
def test_a_quiet_launch_counts_and_shows_where_and_how_fast_it_ran(launch, mode):
    before, after, cpus, reason = launch(mode)
    assert reason == ""
    where = load(before, after, cpus)
    assert where is not None
    # Starting the program is part of the time; a processor that is busy elsewhere starts slowly.
    assert where.used > 0.1 > where.others
    facts = clock_facts(before, after, cpus)
    assert facts[0].startswith("CPU 4-7 in use for ")
    assert facts[1].startswith("CPU 4-7 ran at ")
    if mode == "fixed":
        assert facts[1] == (
            "CPU 4-7 ran at 2367 MHz on average, 100% of the time at its highest, 2367 MHz"
        )


@pytest.mark.parametrize(
    ("write", "name"),
    [
        ({"/.phone/thermal/status": "2\n"}, "THROTTLED"),
        ({"/.phone/battery/level": "20\n"}, "LOW-BATTERY"),
        ({"/.phone/power/wakefulness": "Asleep\n"}, "ASLEEP"),
        ({CLOCK: "1500000\n"}, "CLOCK-CAPPED"),
    ],
    ids=["throttled", "battery", "screen", "clock"],
)
def test_what_goes_wrong_in_the_middle_of_a_launch_voids_it(launch, write, name):
    _, _, _, reason = launch(fault=Fault(on="benchmark", after=3, write=write))
    assert reason.startswith(f"{name} (")
    assert "after it" in reason
