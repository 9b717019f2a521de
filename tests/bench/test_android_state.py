"""What a phone says is read whole, in every form Android has had, and garbage never breaks it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasnet_deploy.bench import dumpsys
from mnasnet_deploy.bench.android_record import device_info, to_conditions
from mnasnet_deploy.bench.android_state import PREFLIGHT, preflight, read_preflight
from mnasnet_deploy.bench.clock_policies import read_cpus
from mnasnet_deploy.bench.clusters import clusters, describe
from mnasnet_deploy.bench.gates import check
from mnasnet_deploy.errors import PhoneError

PHONES = Path(__file__).parents[1] / "data" / "phones"
PIXEL_1 = (PHONES / "pixel-1.txt").read_bytes()
PIXEL_8 = (PHONES / "pixel-8.txt").read_bytes()
NOW = "2026-01-01T00:00:00+00:00"


def changed(text: bytes, old: str, new: str) -> bytes:
    """The text of a phone with one thing changed, which must be there."""
    assert re.search(old, text.decode(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(old, new, text.decode(), flags=re.MULTILINE | re.DOTALL).encode()


# ---- a whole answer


def test_a_pixel_8_is_read_whole():
    state = read_preflight(PIXEL_8)
    assert state.props["ro.product.model"] == "Pixel 8"
    assert state.api == 35
    assert len(state.boot_id) == 36
    assert state.uptime_s == 86400.54
    assert "5.15.148-android14" in state.kernel
    assert state.present_cpus == state.online_cpus == state.allowed_cpus == tuple(range(9))
    assert [policy.cpus for policy in state.policies] == [(0, 1, 2, 3), (4, 5, 6, 7), (8,)]
    fastest = state.policies[2]
    assert (fastest.governor, fastest.min_mhz, fastest.max_mhz) == ("sched_pixel", 500, 2914)
    assert (fastest.scaling_min_mhz, fastest.scaling_max_mhz, fastest.cur_mhz) == (500, 2914, 500)
    assert fastest.time_in_state[-1] == (2914, 1000)
    assert (state.cores[8].capacity, state.cores[8].midr) == (1024, 0x411FD4E0)
    assert state.thermal.status == 0
    assert state.thermal.ready
    assert state.thermal.hottest("skin") == 28.0
    assert state.thermal.hottest() == 33.0
    assert len(state.thermal.temperatures) == 7  # those of the hardware, not the cached ones too
    assert state.battery == dumpsys.Battery(
        percent=93, celsius=27.1, status=2, plugged="usb", faked=False
    )
    assert state.awake is False
    assert state.settings["screen_off_timeout"] == "30000"
    assert (state.free_kib, state.memory_mib) == (33554432, 7558)
    assert state.busy == pytest.approx(0.02, abs=0.002)
    assert not state.compiling


def test_a_pixel_1_says_less_but_shows_its_sensors():
    state = read_preflight(PIXEL_1)
    assert [core.capacity for core in state.cores] == [None] * 4
    assert state.zones_c["cpu2-gold-usr"] == 32.0
    assert [one.of_cpu for one in state.cooling] == [True, True]
    assert "ro.soc.model" not in state.props


def test_an_answer_without_its_end_is_an_error_of_one_line():
    for cut in (PIXEL_8.rpartition(b"@@END")[0], b"", b"\xff\x00"):
        with pytest.raises(PhoneError) as caught:
            read_preflight(cut)
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)


def test_line_ends_of_a_terminal_change_nothing():
    carriage = PIXEL_8.replace(b"\n", b"\r\n")
    assert replace(read_preflight(carriage), raw="") == replace(read_preflight(PIXEL_8), raw="")


def test_chatter_around_the_answer_changes_nothing():
    noisy = b"WARNING: linker: something\n" + PIXEL_8 + b"@@TAG rc=0\n"
    assert replace(read_preflight(noisy), raw="") == replace(read_preflight(PIXEL_8), raw="")


# ---- forms of Android


OLD_THERMAL = """==thermal
IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
\tName: skin, Type: 3, Status: 1, Value: 40.500000
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tName: cpu0-silver-usr, Type: 0, Status: 0, Value: 41.000000
\tName: fps-therm-adc, Type: 3, Status: 1, Value: 40.100000
==power"""


def test_temperatures_in_the_form_of_the_first_android_10():
    thermal = read_preflight(changed(PIXEL_1, "==thermal.*==power", OLD_THERMAL)).thermal
    assert thermal.status == 1
    assert thermal.hottest("cpu") == 41.0
    assert [(t.name, t.kind, t.status) for t in thermal.temperatures] == [
        ("cpu0-silver-usr", "cpu", 0),
        ("fps-therm-adc", "skin", 1),
    ]


def test_a_phone_before_android_10_has_no_thermal_service():
    text = "==thermal\nCan't find service: thermalservice\n==power"
    state = read_preflight(changed(PIXEL_1, "==thermal.*==power", text))
    assert state.thermal == dumpsys.Thermal()
    assert state.thermal.ready is None
    assert "the phone does not say whether it throttles" in to_conditions(state, (3,), NOW).facts


def test_sensors_that_are_not_ready_are_unknown_not_cool():
    text = changed(PIXEL_8, "HAL Ready: true.*==power", "HAL Ready: false\n==power")
    thermal = read_preflight(text).thermal
    assert thermal.ready is False
    assert thermal.temperatures == ()


def test_made_up_battery_and_heat_are_seen():
    faked = "Service state:\n  (UPDATES STOPPED -- use 'reset' to restart)"
    text = changed(PIXEL_8, "Service state:", faked)
    assert read_preflight(text).battery.faked
    text = changed(PIXEL_8, "IsStatusOverride: false", "IsStatusOverride: true")
    assert read_preflight(text).thermal.overridden


def test_a_battery_that_counts_to_another_scale():
    text = changed(PIXEL_8, "level: 93", "level: 50")
    assert read_preflight(changed(text, "scale: 100", "scale: 200")).battery.percent == 25.0


@pytest.mark.parametrize(
    ("powered", "plugged"), [("USB", "usb"), ("AC", "ac"), ("Wireless", "wireless"), ("", "")]
)
def test_where_the_power_comes_from(powered, plugged):
    text = PIXEL_8.replace(b"USB powered: true", b"USB powered: false")
    if powered:
        text = text.replace(
            f"{powered} powered: false".encode(), f"{powered} powered: true".encode()
        )
    assert read_preflight(text).battery.plugged == plugged


def test_a_kernel_without_policy_folders_says_it_of_each_cpu():
    policies = read_preflight(PIXEL_1).policies
    lines = []
    for line in PIXEL_1.decode().splitlines():
        match = re.match(r"cpufreq/policy(\d)(/.*)", line)
        if match:
            first = int(match[1])
            lines += [f"cpu{cpu}/cpufreq{match[2]}" for cpu in (first, first + 1)]
        else:
            lines.append(line)
    assert read_preflight("\n".join(lines).encode()).policies == policies


def test_an_old_kernel_names_its_cores_in_cpuinfo_only():
    text = changed(PIXEL_1, r"^core\.(\d)\.midr=.*?$", r"core.\1.midr=")
    named = [(core.midr or 0) >> 4 & 0xFFF for core in read_preflight(text).cores]
    assert named == [0x211, 0x211, 0x205, 0x205]
    assert clusters(read_preflight(text)) == clusters(read_preflight(PIXEL_1))


def test_a_phone_that_compiles_apps_says_so():
    assert read_preflight(changed(PIXEL_8, "^dex2oat=$", "dex2oat=4711 4712")).compiling


def test_missing_files_and_commands_leave_gaps():
    bare = "\n".join(
        line.partition("=")[0] + "=" for line in PIXEL_8.decode().splitlines() if "=" in line
    )
    state = read_preflight(f"{bare}\n@@END rc=0\n".encode())
    assert state.props == {}
    assert state.policies  # of each folder the CPU in its name is known
    assert state.policies[0].max_mhz is None
    assert (state.awake, state.uptime_s, state.busy, state.free_kib) == (None, None, None, None)
    assert device_info(state, "benchmark_model 2.19.0", "").name == "unnamed phone"
    assert to_conditions(state, (0,), NOW).clock_limit_mhz is None


def test_lists_of_cpus():
    assert read_cpus("0-3,7") == (0, 1, 2, 3, 7)
    assert read_cpus("0 1 2 3 \n") == (0, 1, 2, 3)
    for wrong in ("", "a", "3-0", "-1", "0-99999999", "1-"):
        assert read_cpus(wrong) == ()


# ---- garbage


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_answer_is_read_or_refused_and_nothing_else(data):
    text = data.draw(st.sampled_from([PIXEL_1, PIXEL_8]))
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        start = data.draw(st.integers(min_value=0, max_value=len(text)))
        end = data.draw(st.integers(min_value=start, max_value=len(text)))
        kind = data.draw(st.sampled_from(["cut", "bytes", "splice", "digits"]))
        if kind == "cut":
            text = text[:start] + text[end:]
        elif kind == "bytes":
            text = text[:start] + data.draw(st.binary(max_size=20)) + text[start:]
        elif kind == "splice":
            text = text[:start] + text[end:] + text[start:end]
        else:
            text = text[:start] + b"9" * data.draw(st.integers(1, 5000)) + text[start:]
    whole = text + b"\n@@END rc=0\n" if data.draw(st.booleans()) else text
    try:
        state = read_preflight(whole)
    except PhoneError:
        return
    device_info(state, "benchmark_model", "")
    to_conditions(state, (0, 8), NOW)
    describe(state)
    check(state, (0, 8), ambient_c=None)


@settings(deadline=None)
@given(st.text())
def test_services_may_say_anything(text):
    dumpsys.read_battery(text)
    dumpsys.read_thermal(text)
    dumpsys.read_awake(text)


# ---- in a record


def test_a_software_phone_never_looks_like_a_real_one():
    state = read_preflight(PIXEL_8)
    info = device_info(state, "benchmark_model 2.19.0", "ab" * 32)
    assert (info.kind, info.name) == ("software-phone", "Pixel 8 (software phone)")
    assert (info.cpu, info.os, info.cores) == ("Google Tensor G3", "Android 15 (API 35)", 9)
    assert info.build.startswith("google/shiba/shiba:15/")
    assert (info.runtime, info.runtime_sha256) == ("benchmark_model 2.19.0", "ab" * 32)
    real = read_preflight(changed(PIXEL_8, "software_phone=1", "software_phone="))
    assert device_info(real, "benchmark_model 2.19.0", "").kind == "android"
    assert device_info(real, "benchmark_model 2.19.0", "").name == "Pixel 8"
    assert device_info(read_preflight(PIXEL_1), "b", "").cpu == "msm8996"


@pytest.mark.parametrize(
    ("maker", "model", "name"),
    [
        ("Google", "Pixel", "Pixel"),
        ("samsung", "SM-G960F", "Samsung SM-G960F"),
        ("motorola", "moto g(5)", "Motorola moto g(5)"),
        ("OnePlus", "OnePlus 9", "OnePlus 9"),
    ],
)
def test_a_phone_is_called_what_people_call_it(maker, model, name):
    state = read_preflight(PIXEL_8)
    props = {"ro.product.manufacturer": maker, "ro.product.model": model}
    assert device_info(replace(state, props=props), "b", "").name == name


def test_conditions_tell_the_clock_that_is_held_back_most():
    text = changed(PIXEL_8, "policy8/scaling_max_freq=2914000", "policy8/scaling_max_freq=1500000")
    state = read_preflight(text)
    both = to_conditions(state, (7, 8), NOW)
    assert (both.clock_limit_mhz, both.clock_max_mhz) == (1500, 2914)
    assert to_conditions(state, (7,), NOW).clock_limit_mhz == 2367
    assert both.temperature_c == 33.0
    assert (both.battery_percent, both.thermal_status) == (93, 0)
    assert both.governor == "sched_pixel"
    assert "screen off" in both.facts
    assert "plugged in (usb), charging" in both.facts
    assert "skin 28.0 °C" in both.facts
    assert both.raw == state.raw


# ---- the script, on software phones


def test_the_script_fits_the_command_line_of_an_old_phone():
    assert len(preflight(3.0).encode()) < 3500


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("model", ["pixel-1", "pixel-8"])
def test_the_script_reads_a_phone_in_one_round_trip_and_changes_nothing(phone_rig, model):
    phone = phone_rig.phone(model)
    before = phone.settings()
    done = phone_rig.adb("-s", phone.serial, "shell", preflight(0.2))
    assert (done.code, done.err) == (0, b"")
    state = read_preflight(done.out)
    captured = read_preflight(PIXEL_1 if model == "pixel-1" else PIXEL_8)
    assert state.props == captured.props
    assert state.cores == captured.cores
    assert state.thermal == captured.thermal
    assert state.settings == captured.settings
    assert state.busy is not None
    assert phone.settings() == before
    # What adb calls a phone, and the number printed on it, stay where they are.
    serial = phone.read("/.phone/prop/ro.serialno").strip()
    assert serial not in done.text
    assert phone.serial not in done.text


@pytest.mark.processes
@pytest.mark.slow
def test_without_a_window_the_load_is_not_watched(phone_rig, software_phone):
    done = phone_rig.adb("-s", software_phone.serial, "shell", PREFLIGHT)
    assert read_preflight(done.out).busy is None


@pytest.mark.processes
@pytest.mark.slow
def test_a_busy_phone_shows_it(phone_rig, software_phone):
    software_phone.options(busy=0.6)
    done = phone_rig.adb("-s", software_phone.serial, "shell", preflight(0.5))
    assert read_preflight(done.out).busy == pytest.approx(0.6, abs=0.1)
