"""Each gate holds on a phone that is fit, and is named where it does not."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mnasnet_deploy.bench.android_state import PREFLIGHT, read_preflight
from mnasnet_deploy.bench.dumpsys import Cooling, Temperature, Thermal
from mnasnet_deploy.bench.gates import GATES, Gate, check, check_names, refuse
from mnasnet_deploy.errors import InputError, PhoneError

ROOT = Path(__file__).parents[2]
SAID = read_preflight((ROOT / "tests/data/phones/pixel-8.txt").read_bytes())
FIT = replace(SAID, awake=True, battery=replace(SAID.battery, status=5))
CPUS = (4, 5, 6, 7)
USED = FIT.policies[1]


def prop(name, value):
    return replace(FIT, props={**FIT.props, name: value})


def battery(**values):
    return replace(FIT, battery=replace(FIT.battery, **values))


def thermal(**values):
    return replace(FIT, thermal=replace(FIT.thermal, **values))


def sensor(kind, celsius, status=0):
    return (Temperature(name="probe", kind=kind, celsius=celsius, status=status),)


def clock(**values):
    return replace(FIT, policies=(FIT.policies[0], replace(USED, **values), FIT.policies[2]))


ALONE = {
    "EMULATOR": [
        prop("ro.kernel.qemu", "1"),
        prop("ro.boot.qemu", "1"),
        prop("ro.build.fingerprint", "generic/sdk/x"),
        prop("ro.build.fingerprint", "unknown/x"),
        prop("ro.build.fingerprint", "google/emulator64/x"),
        prop("ro.product.model", "sdk_gphone64_arm64"),
    ],
    "ENG-BUILD": [prop("ro.build.fingerprint", "google/shiba/shiba:15/AP4A/1:eng/test-keys")],
    "LOW-BATTERY": [battery(percent=24.0), battery(percent=None)],
    "BATTERY-SAVER": [replace(FIT, settings={"low_power": "1"})],
    "BATTERY-FAKED": [battery(faked=True)],
    "THERMAL-FAKED": [thermal(overridden=True)],
    "THROTTLED": [
        thermal(status=1),
        thermal(temperatures=sensor("skin", 34.0, 1)),
        thermal(temperatures=sensor("cpu", 80.0, 2)),
        thermal(cooling=(Cooling(name="thermal-cpufreq-2", of_cpu=True, level=3),)),
        replace(FIT, cooling=(Cooling(name="thermal-cpufreq-2", of_cpu=True, level=3),)),
        clock(scaling_max_mhz=1524.0),
    ],
    "WARM": [thermal(temperatures=sensor("skin", 35.1)), battery(celsius=35.1)],
    "ASLEEP": [replace(FIT, awake=False), replace(FIT, awake=None)],
    "CORES-OFFLINE": [replace(FIT, online_cpus=(0, 1, 2, 3, 4, 5, 6, 8))],
    "CPUSET": [replace(FIT, allowed_cpus=(0, 1, 2, 3))],
    "CLOCKS-ALIEN": [
        clock(governor="performance"),
        clock(governor="userspace"),
        clock(scaling_min_mhz=2367.0),
    ],
    "BUSY": [
        replace(FIT, busy=0.11),
        replace(FIT, uptime_s=299.0),
        prop("sys.boot_completed", ""),
        replace(FIT, compiling=True),
    ],
    "THERMAL-UNKNOWN": [replace(FIT, thermal=Thermal()), thermal(ready=False)],
    "CHARGING": [battery(status=2)],
}
CASES = [
    pytest.param(name, state, id=f"{name}-{i}")
    for name, states in ALONE.items()
    for i, state in enumerate(states)
]


@pytest.mark.parametrize(("name", "state"), CASES)
def test_one_fault_closes_one_gate(name, state):
    (gate,) = check(state, CPUS, ambient_c=21.0)
    assert gate.name == name
    assert gate.fatal == GATES[name]
    assert "\n" not in gate.message


def test_every_gate_is_tested_and_known():
    assert {*ALONE, "ROOM"} == {*GATES}


def test_a_fit_phone_passes_every_gate():
    assert check(FIT, CPUS, ambient_c=21.0, stock=("sched_pixel",)) == ()


def test_an_unknown_room_only_warns():
    (gate,) = check(FIT, CPUS, ambient_c=None)
    assert (gate.name, gate.fatal) == ("ROOM", False)
    assert "--ambient" in gate.message


def test_a_governor_that_is_not_the_stock_one_is_alien():
    (gate,) = check(FIT, CPUS, ambient_c=21.0, stock=("schedutil",))
    assert gate.name == "CLOCKS-ALIEN"
    assert "sched_pixel and not schedutil" in gate.message


def test_clocks_fixed_for_the_measurement_are_not_alien():
    for mhz in (2367.0, 1524.0):
        state = clock(scaling_min_mhz=mhz, scaling_max_mhz=mhz)
        assert check(state, CPUS, ambient_c=21.0) != ()
        assert check(state, CPUS, ambient_c=21.0, forced=True) == ()
    (gate,) = check(clock(scaling_max_mhz=1524.0), CPUS, ambient_c=21.0, forced=True)
    assert gate.name == "THROTTLED"


def test_clocks_that_are_not_used_do_not_matter():
    little = replace(FIT.policies[0], scaling_max_mhz=800.0, governor="performance")
    state = replace(FIT, policies=(little, *FIT.policies[1:]))
    assert check(state, CPUS, ambient_c=21.0) == ()
    assert [gate.name for gate in check(state, (0,), ambient_c=21.0)] == [
        "THROTTLED",
        "CLOCKS-ALIEN",
    ]


def test_a_sensor_that_is_not_there_is_not_warm():
    assert check(thermal(temperatures=sensor("skin", 3000.0)), CPUS, ambient_c=21.0) == ()


def test_the_same_gates_close_whatever_else_does():
    state = replace(battery(percent=10.0, status=2), awake=False, busy=0.5)
    names = [gate.name for gate in check(state, CPUS, ambient_c=None)]
    assert names == ["LOW-BATTERY", "ASLEEP", "BUSY", "ROOM", "CHARGING"]


def test_a_phone_that_is_not_fit_is_refused_in_one_line_that_names_everything():
    gates = check(replace(battery(percent=10.0), awake=False), CPUS, ambient_c=None)
    with pytest.raises(PhoneError) as caught:
        refuse(gates)
    message = str(caught.value)
    assert "LOW-BATTERY: its battery is at 10 %" in message
    assert "--allow LOW-BATTERY --allow ASLEEP" in message
    assert "ROOM" not in message
    assert "\n" not in message


def test_a_gate_opens_only_by_its_own_name_and_the_name_is_kept():
    gates = check(replace(battery(percent=10.0), awake=False), CPUS, ambient_c=None)
    with pytest.raises(PhoneError, match=r"--allow ASLEEP\)"):
        refuse(gates, ["low-battery"])
    assert refuse(gates, ["ASLEEP", "LOW-BATTERY", "THROTTLED"]) == ("LOW-BATTERY", "ASLEEP")
    assert refuse((Gate(name="ROOM", message="", fatal=False),)) == ()


def test_there_is_no_name_that_opens_everything():
    for wrong in ("ALL", "*", "", "THROTLED"):
        with pytest.raises(InputError, match="there is no gate"):
            refuse((), [wrong])
    assert check_names(["warm", "WARM", "busy"]) == ("WARM", "BUSY")


def test_every_gate_is_explained_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z-]+)` \| (refuses|warns) \|", readme, flags=re.MULTILINE))
    assert rows == {name: "refuses" if fatal else "warns" for name, fatal in GATES.items()}


@pytest.fixture(scope="module")
def phone(module_rig):
    return module_rig.phone("pixel-8")


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        ("/.phone/battery/level", "10\n", "LOW-BATTERY"),
        ("/.phone/battery/faked", "1\n", "BATTERY-FAKED"),
        ("/.phone/thermal/status", "2\n", "THROTTLED"),
        ("/.phone/thermal/override", "0\n", "THERMAL-FAKED"),
        ("/.phone/thermal/no_hal", "", "THERMAL-UNKNOWN"),
        ("/.phone/settings/global/low_power", "1\n", "BATTERY-SAVER"),
        ("/.phone/online_mask", "1ef\n", "CPUSET"),
        ("/sys/devices/system/cpu/online", "0-3,5-8\n", "CORES-OFFLINE"),
        ("/sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq", "1500000\n", "THROTTLED"),
        (
            "/sys/devices/system/cpu/cpufreq/policy4/scaling_governor",
            "performance\n",
            "CLOCKS-ALIEN",
        ),
    ],
)
def test_what_is_wrong_with_a_phone_closes_its_gate(module_rig, phone, path, content, name):
    place = phone.root / path.lstrip("/")
    before = place.read_text() if place.exists() else None
    phone.write(path, content)
    out = module_rig.adb("-s", phone.serial, "shell", PREFLIGHT).out
    if before is None:
        place.unlink()
    else:
        phone.write(path, before)
    names = {gate.name for gate in check(read_preflight(out), CPUS, ambient_c=21.0)}
    assert names == {"ASLEEP", "CHARGING", name}
