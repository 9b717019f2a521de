"""A launch is voided by the state around it, by the rule that was broken, and by nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasnet_deploy.bench.dumpsys import Temperature, Thermal
from mnasnet_deploy.bench.quick_state import (
    QUICK,
    VOIDS,
    Load,
    Ticks,
    around,
    clock_facts,
    load,
    read_quick,
    take_states,
    voids,
)
from mnasnet_deploy.errors import PhoneError

TEXT = (Path(__file__).parents[1] / "data" / "phones" / "pixel-8-launch.txt").read_bytes()
(BEFORE, AFTER), REST = take_states(TEXT)
CPUS = (4, 5, 6, 7)


def clock(quick, side="opening", **values):
    """A reading with another clock of CPU 4 to 7."""
    policies = getattr(quick, side)
    changed = tuple(replace(p, **values) if p.cpus == CPUS else p for p in policies)
    return replace(quick, **{side: changed})


def thermal(quick, **values):
    return replace(quick, thermal=replace(quick.thermal, **values))


def battery(quick, **values):
    return replace(quick, battery=replace(quick.battery, **values))


HOT = (Temperature(name="VIRTUAL-SKIN", kind="skin", celsius=40.2, status=1),)
BROKEN = {
    "REBOOTED": [replace(AFTER, boot_id="another"), replace(AFTER, uptime_s=10.0)],
    "THERMAL-FAKED": [thermal(AFTER, overridden=True)],
    "THROTTLED": [thermal(AFTER, status=2), thermal(AFTER, temperatures=HOT)],
    "CLOCK-CAPPED": [
        clock(AFTER, scaling_max_mhz=1500.0),
        clock(AFTER, "closing", scaling_max_mhz=1500.0),
    ],
    "CLOCK-CHANGED": [clock(AFTER, governor="performance")],
    "CORES-OFFLINE": [replace(AFTER, online_cpus=(0, 1, 2, 3, 4, 5, 6, 8))],
    "ASLEEP": [replace(AFTER, awake=False)],
    "BATTERY-FAKED": [battery(AFTER, faked=True)],
    "LOW-BATTERY": [battery(AFTER, percent=24.0)],
}
CASES = [
    pytest.param(name, after, id=f"{name}-{i}")
    for name, states in BROKEN.items()
    for i, after in enumerate(states)
]


def test_a_launch_captured_from_a_phone_is_read():
    assert REST == "INFO: count=50\n"
    assert BEFORE.boot_id == AFTER.boot_id
    assert (BEFORE.uptime_s or 0) < (AFTER.uptime_s or 0)
    assert BEFORE.online_cpus == tuple(range(9))
    assert BEFORE.awake is True
    assert (BEFORE.battery.percent, BEFORE.battery.plugged) == (93, "usb")
    assert BEFORE.thermal.hottest("skin") == 28.0
    assert [policy.max_mhz for policy in BEFORE.opening] == [1704, 2367, 2914]
    assert [policy.cpus for policy in AFTER.closing] == [(0, 1, 2, 3), CPUS, (8,)]


def test_a_quiet_launch_counts():
    assert voids(BEFORE, AFTER, CPUS, "stock") == ""


@pytest.mark.parametrize(("name", "after"), CASES)
def test_a_broken_rule_voids_a_launch_by_name(name, after):
    found = voids(BEFORE, after, CPUS, "stock")
    assert found.startswith(f"{name} (")
    assert "\n" not in found


def test_every_rule_is_tested_and_known():
    assert {*BROKEN, "CLOCK-LOW"} == {*VOIDS}


def test_every_rule_is_named_in_the_readme():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    part = readme.partition("### Gates of a phone")[2].partition("\n### ")[0]
    for name in VOIDS:
        assert f"`{name}`" in part.rpartition("| `CHARGING`")[2]


def test_the_state_before_a_launch_counts_too():
    assert voids(replace(BEFORE, awake=False), AFTER, CPUS, "stock").startswith("ASLEEP (")
    assert voids(battery(BEFORE, percent=20.0), AFTER, CPUS, "stock").startswith("LOW-BATTERY (")


def test_cores_and_clocks_that_were_not_used_void_nothing():
    assert voids(BEFORE, replace(AFTER, online_cpus=CPUS), CPUS, "stock") == ""
    assert voids(BEFORE, clock(AFTER, scaling_max_mhz=1500.0), (8,), "stock") == ""


def test_a_gate_that_was_let_through_voids_nothing():
    after = clock(thermal(AFTER, status=1), scaling_max_mhz=1500.0)
    before = clock(BEFORE, "closing", scaling_max_mhz=1500.0)
    assert voids(before, after, CPUS, "stock", ["THROTTLED"]) == ""
    assert voids(before, battery(after, percent=3.0), CPUS, "stock", ["THROTTLED"]) != ""
    low = battery(AFTER, percent=3.0)
    assert voids(BEFORE, low, CPUS, "stock", ["LOW-BATTERY"]) == ""


def test_a_limit_that_moved_voids_a_launch_even_when_throttling_is_let_through():
    found = voids(BEFORE, clock(AFTER, scaling_max_mhz=1500.0), CPUS, "stock", ["THROTTLED"])
    assert found.startswith("CLOCK-CHANGED (")


def test_locked_clocks_are_below_the_highest_on_purpose():
    def locked(quick):
        both = clock(quick, scaling_max_mhz=1500.0)
        return clock(both, "closing", scaling_max_mhz=1500.0)

    assert voids(locked(BEFORE), locked(AFTER), CPUS, "locked") == ""
    assert voids(locked(BEFORE), AFTER, CPUS, "locked").startswith("CLOCK-CHANGED (")


def spent(**shares):
    """The two readings, with times in ms at the clocks 1000 and 2367 MHz between them."""
    start = clock(BEFORE, "closing", time_in_state=((1000.0, 500.0), (2367.0, 700.0)))
    end = clock(
        AFTER, time_in_state=((1000.0, 500.0 + shares["low"]), (2367.0, 700.0 + shares["high"]))
    )
    return start, end


def test_clocks_that_were_to_be_fixed_and_were_not_void_a_launch():
    assert voids(*spent(low=40.0, high=960.0), CPUS, "fixed") == ""
    found = voids(*spent(low=60.0, high=940.0), CPUS, "fixed")
    assert found == "CLOCK-LOW (CPU 4-7 was at its highest clock for 94% of the time only)"
    assert voids(*spent(low=60.0, high=940.0), CPUS, "stock") == ""


def test_how_fast_the_cores_ran_is_told():
    assert clock_facts(*spent(low=500.0, high=500.0), CPUS)[1:] == (
        "CPU 4-7 ran at 1684 MHz on average, 50% of the time at its highest, 2367 MHz",
    )
    (_, fact) = clock_facts(*spent(low=500.0, high=0.0), CPUS)
    assert "0% of the time at its highest, 2367 MHz" in fact


def test_times_that_cannot_be_are_not_told():
    bare = clock(BEFORE, "closing", time_in_state=()), clock(AFTER, time_in_state=())
    for pair in (spent(low=0.0, high=0.0), spent(low=-10.0, high=500.0), bare):
        assert len(clock_facts(*pair, CPUS)) == 1


def worked(**shares):
    """The two readings, with 100 ticks of each CPU between them, so many of them in use."""
    start = {cpu: Ticks(busy=1000, total=5000) for cpu in range(9)}
    end = {
        cpu: Ticks(busy=1000 + shares["used" if cpu in CPUS else "others"], total=5100)
        for cpu in range(9)
    }
    return replace(BEFORE, closing_ticks=start), replace(AFTER, opening_ticks=end)


def test_where_the_work_was_is_told():
    assert load(*worked(used=90, others=9), CPUS) == Load(
        used=pytest.approx(0.9), others=pytest.approx(0.05)
    )
    assert clock_facts(*worked(used=90, others=9), CPUS)[0] == (
        "CPU 4-7 in use for 90% of the time, the others took 5% of all CPUs"
    )
    assert load(*worked(used=-5, others=0), CPUS) == Load(used=0.0, others=0.0)
    assert load(AFTER, BEFORE, CPUS) is None


def test_a_phone_that_says_nothing_voids_nothing():
    silent = replace(
        BEFORE, boot_id="", uptime_s=None, online_cpus=(), opening=(), closing=(),
        opening_ticks={}, closing_ticks={},
        thermal=Thermal(), battery=type(BEFORE.battery)(), awake=None,
    )  # fmt: skip
    assert voids(silent, silent, CPUS, "stock") == ""
    assert clock_facts(silent, silent, CPUS) == ()


def test_a_reading_that_was_cut_off_is_not_one():
    first = TEXT[: TEXT.index(b"@@STATE-END") - 30]
    assert take_states(first)[0] == ()
    assert len(take_states(TEXT[:-5])[0]) == 1
    with pytest.raises(PhoneError, match="broke off"):
        read_quick(first.decode())


def test_line_ends_of_a_terminal_change_nothing():
    assert take_states(TEXT.replace(b"\n", b"\r\n")) == take_states(TEXT)


@settings(deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)), st.binary(max_size=30))
def test_a_damaged_output_is_read_without_a_crash(start, end, put):
    found, _ = take_states(TEXT[:start] + put + TEXT[end:])
    for one in found:
        voids(BEFORE, one, CPUS, "fixed")
        clock_facts(BEFORE, one, CPUS)


def test_two_readings_fit_the_command_line_of_an_old_phone():
    assert len(around("x" * 1000).encode()) < 3000


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("model", ["pixel-1", "pixel-8"])
def test_two_readings_and_a_command_in_one_round_trip(phone_rig, model):
    phone = phone_rig.phone(model)
    done = phone_rig.adb("-s", phone.serial, "shell", around("echo working; false"))
    assert done.err == b""
    (before, after), rest = take_states(done.out)
    assert rest == "working\n"
    assert before.boot_id == after.boot_id != ""
    used = before.opening[-1].cpus
    assert voids(before, after, used, "stock") == "ASLEEP (the screen was off before it)"
    assert voids(before, after, used, "stock", ["ASLEEP"]) == ""


@pytest.mark.processes
@pytest.mark.slow
def test_one_reading_alone(phone_rig, software_phone):
    done = phone_rig.adb("-s", software_phone.serial, "shell", QUICK)
    assert read_quick(done.text).battery.percent == 93


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        ("/.phone/thermal/status", "2", "THROTTLED"),
        ("/.phone/battery/level", "10", "LOW-BATTERY"),
        ("/.phone/power/wakefulness", "Asleep", "ASLEEP"),
        (
            "/sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq",
            "1500000",
            "CLOCK-CAPPED",
        ),
        ("/sys/devices/system/cpu/online", "0-3,5-8", "CORES-OFFLINE"),
    ],
)
def test_what_changes_in_the_middle_of_a_launch_voids_it(
    phone_rig, software_phone, path, content, name
):
    software_phone.write("/.phone/power/wakefulness", "Awake\n")
    software_phone.write("/.phone/settings/global/stay_on_while_plugged_in", "2\n")
    change = f"echo {content} > {path}.new; mv -f {path}.new {path}"
    done = phone_rig.adb("-s", software_phone.serial, "shell", around(change))
    (before, after), rest = take_states(done.out)
    assert rest == ""
    assert voids(before, before, CPUS, "stock") == ""
    assert voids(before, after, CPUS, "stock").startswith(f"{name} (")
