"""A phone is waited for by its temperature; no test here waits."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasnet_deploy.bench.adb import find_adb
from mnasnet_deploy.bench.android_state import read_preflight
from mnasnet_deploy.bench.cooling import Heat, heat, wait_until_cool
from mnasnet_deploy.bench.quick_state import QUICK, read_quick, take_states
from mnasnet_deploy.errors import PhoneError

DATA = Path(__file__).parents[1] / "data" / "phones"
STATE = read_preflight((DATA / "pixel-8.txt").read_bytes())
(_, QUICK_STATE), _ = take_states((DATA / "pixel-8-launch.txt").read_bytes())
CPUS = (4, 5, 6, 7)


class Phone:
    """Readings one after the other, the last one for ever, and a clock that only sleeping moves."""

    def __init__(self, *readings):
        self.readings = list(readings)
        self.time = 100.0
        self.seen = []

    def read(self):
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]

    def sleep(self, seconds):
        self.time += seconds

    def wait(self, **options):
        return wait_until_cool(
            self.read, sleep=self.sleep, now=lambda: self.time, on_wait=self.seen.append, **options
        )


def skin(*values, battery=30.0, throttled=""):
    return [Heat(skin_c=value, battery_c=battery, throttled=throttled) for value in values]


def test_a_cool_phone_is_not_waited_for():
    phone = Phone(*skin(29.0))
    assert phone.wait(baseline_c=28.0).waited_s == 0
    assert phone.seen == []


def test_a_warm_phone_is_waited_for_until_it_is_near_its_baseline():
    phone = Phone(*skin(36.0, 33.0, 30.0, 29.1, 28.9, 20.0))
    cooled = phone.wait(baseline_c=28.0)
    assert cooled.waited_s == 20
    assert (cooled.before.skin_c, cooled.after.skin_c) == (36.0, 28.9)
    assert [seen.skin_c for seen in phone.seen] == [36.0, 33.0, 30.0, 29.1]


def test_a_phone_that_gets_no_cooler_is_cool_enough_below_33():
    phone = Phone(*skin(33.5, 32.9, 32.6, 32.5, 32.45, 32.44))
    cooled = phone.wait(baseline_c=28.0)
    assert cooled.after.skin_c == 32.44
    assert cooled.waited_s == 30  # at 25 s it still fell by 0.16 °C in 15 s


def test_a_phone_that_stays_warm_is_given_up_with_its_last_reading():
    phone = Phone(*skin(36.0, 34.0))
    with pytest.raises(PhoneError) as caught:
        phone.wait(baseline_c=28.0)
    message = str(caught.value)
    assert "within 10 min (skin 34.0 °C, battery 30.0 °C)" in message
    assert "--resume" in message
    assert phone.time == 700.0


def test_without_a_baseline_33_degrees_count():
    assert Phone(*skin(33.0)).wait().waited_s == 0
    assert Phone(*skin(34.0, 32.0)).wait().waited_s == 5


def test_a_throttled_phone_is_not_cool_at_any_temperature():
    hot = skin(25.0, 25.0, throttled="CPU 4-7 may run at 1500 of 2367 MHz")
    assert Phone(*hot, *skin(25.0)).wait(baseline_c=28.0).waited_s == 10
    assert Phone(*hot).wait(baseline_c=28.0, allowed=["THROTTLED"]).waited_s == 0
    with pytest.raises(PhoneError, match="1500 of 2367 MHz"):
        Phone(*hot).wait(baseline_c=28.0)


def test_a_warm_battery_is_waited_for_too():
    assert Phone(*skin(25.0, battery=36.0), *skin(25.0)).wait(baseline_c=28.0).waited_s == 5


def test_warmth_that_was_let_through_is_not_waited_for():
    assert Phone(*skin(40.0, battery=36.0)).wait(allowed=["WARM"]).waited_s == 0


def test_a_phone_that_does_not_say_is_not_waited_for():
    silent = Heat(skin_c=None, battery_c=None, throttled="")
    assert Phone(silent).wait(baseline_c=None).waited_s == 0
    assert str(silent) == "it does not say how warm it is"


@settings(deadline=None)
@given(
    st.lists(st.floats(min_value=20.0, max_value=50.0), min_size=1, max_size=40),
    st.none() | st.floats(min_value=20.0, max_value=40.0),
)
def test_it_always_ends_and_never_on_a_hot_phone(values, baseline_c):
    phone = Phone(*skin(*values))
    try:
        cooled = phone.wait(baseline_c=baseline_c)
    except PhoneError:
        assert phone.time >= 700.0
        return
    limit = 33.0 if baseline_c is None else max(33.0, baseline_c + 1.0)
    assert cooled.after.skin_c <= limit


def test_both_readings_of_a_phone_say_how_warm_it_is():
    expected = Heat(skin_c=28.0, battery_c=27.1, throttled="")
    assert heat(STATE, CPUS) == expected
    assert heat(QUICK_STATE, CPUS) == expected
    capped = replace(STATE.policies[1], scaling_max_mhz=1524.0, scaling_min_mhz=1524.0)
    state = replace(STATE, policies=(capped,))
    assert heat(state, CPUS).throttled == "CPU 4-7 may run at 1524 of 2367 MHz"
    assert heat(state, CPUS, forced=True).throttled == ""
    assert heat(replace(QUICK_STATE, closing=(capped,)), CPUS).throttled != ""
    assert heat(state, (8,)).throttled == ""


@pytest.mark.processes
@pytest.mark.slow
def test_a_phone_that_was_heated_is_cool_again(phone_rig, software_phone, use_rig):
    use_rig(phone_rig)
    link = find_adb().link(software_phone.serial)

    def read():
        return heat(read_quick(link.shell(QUICK).text), CPUS)

    baseline_c = read().skin_c
    software_phone.options(heating=0.001, ambient=45.0, cooling_s=0.05)
    hot = read()
    for _ in range(100):
        if hot.throttled:
            break
        hot = read()
    assert hot.skin_c > 37.0
    assert "MHz" in hot.throttled
    software_phone.options(heating=0.001, ambient=27.0, cooling_s=0.3)
    cooled = wait_until_cool(read, baseline_c=baseline_c, poll_s=0.05, patience_s=30.0)
    assert cooled.after.skin_c <= baseline_c + 1.0
    assert cooled.after.throttled == ""
