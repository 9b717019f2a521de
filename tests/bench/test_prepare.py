"""A phone is prepared, and put back as it was however the run ends."""

from dataclasses import replace
from pathlib import Path

import pytest
from softphone.faults import Fault

from mnasnet_deploy.bench.adb import find_adb
from mnasnet_deploy.bench.android_state import PREFLIGHT, read_preflight
from mnasnet_deploy.bench.gates import check
from mnasnet_deploy.bench.prepare import (
    RESTORE,
    Change,
    apply,
    changes,
    left_out,
    mended,
    pending,
    restore,
)
from mnasnet_deploy.errors import InputError, LinkLostError, PhoneError

DATA = Path(__file__).parents[1] / "data" / "phones"
PIXEL_8 = read_preflight((DATA / "pixel-8.txt").read_bytes())
PIXEL_1 = read_preflight((DATA / "pixel-1.txt").read_bytes())
CPUS = (4, 5, 6, 7)


def plan(state, mode="stock", *, prepare=False, over_wifi=False, cpus=()):
    return changes(state, mode, prepare, over_wifi, cpus)


def words(planned):
    return [change.what for change in planned]


# ---- what would be done


def test_stock_wakes_the_screen_and_keeps_it_on_and_nothing_more():
    planned = plan(PIXEL_8)
    assert words(planned) == [
        "wake the screen",
        "keep the screen on while plugged in (stay_on_while_plugged_in from 0 to 7)",
    ]
    assert mended(planned) == {"ASLEEP"}
    assert left_out(PIXEL_8, prepare=False, over_wifi=True) == ()


def test_a_phone_on_its_battery_stays_on_by_its_timeout():
    off = replace(PIXEL_8, battery=replace(PIXEL_8.battery, plugged=""))
    assert "screen_off_timeout from 30000 to 86400000" in words(plan(off))[-1]


def test_preparing_names_all_that_it_changes():
    state = replace(PIXEL_8, settings={**PIXEL_8.settings, "low_power": "1"})
    assert words(plan(state, prepare=True))[2:] == [
        "no automatic brightness (screen_brightness_mode from 1 to 0)",
        "the screen as dark as it goes (screen_brightness from 102 to 1)",
        "airplane mode",
        "no battery saver",
        "end apps in the background",
    ]
    assert mended(plan(state, prepare=True)) == {"ASLEEP", "BATTERY-SAVER"}


def test_radios_stay_on_where_the_phone_is_reached_by_them():
    assert "airplane mode" not in words(plan(PIXEL_8, prepare=True, over_wifi=True))
    assert "over Wi-Fi" in left_out(PIXEL_8, prepare=True, over_wifi=True)[0]
    assert "airplane mode" not in words(plan(PIXEL_1, prepare=True))
    assert "before 11" in left_out(PIXEL_1, prepare=True, over_wifi=False)[0]
    assert left_out(PIXEL_8, prepare=True, over_wifi=False) == ()


def test_what_is_as_it_should_be_is_not_changed():
    settings = {
        **PIXEL_8.settings, "stay_on_while_plugged_in": "15", "screen_brightness": "1",
        "screen_brightness_mode": "0", "airplane_mode_on": "1",
    }  # fmt: skip
    planned = plan(replace(PIXEL_8, settings=settings, awake=True), prepare=True)
    assert words(planned) == ["wake the screen", "end apps in the background"]
    assert planned[0].undo == ""


def test_a_setting_that_never_was_is_deleted_again():
    bare = {k: v for k, v in PIXEL_8.settings.items() if k != "stay_on_while_plugged_in"}
    change = plan(replace(PIXEL_8, settings=bare))[1]
    assert change.undo == "settings delete global stay_on_while_plugged_in"
    assert change.before == "null"


def test_an_old_value_from_the_phone_is_never_run():
    settings = {**PIXEL_8.settings, "screen_brightness": "1; rm -rf /sdcard"}
    change = plan(replace(PIXEL_8, settings=settings), prepare=True)[3]
    assert change.undo == "settings put system screen_brightness '1; rm -rf /sdcard'"


def test_an_old_phone_has_no_fixed_mode():
    with pytest.raises(PhoneError, match="--mode stock"):
        plan(PIXEL_1, "fixed")


def test_clocks_are_locked_at_a_step_near_two_thirds():
    (little, middle, big) = plan(PIXEL_8, "locked")[2:]
    assert "CPU 0-3 locked at 1112 MHz" in little.what
    assert "CPU 4-7 locked at 1524 MHz" in middle.what
    assert "CPU 8 locked at 1879 MHz" in big.what
    assert middle.after == "1524000 1524000"
    assert [change.what for change in plan(PIXEL_8, "locked", cpus=CPUS)[2:]] == [middle.what]
    silent = replace(PIXEL_8.policies[0], scaling_min_mhz=None)
    with pytest.raises(PhoneError, match="--mode stock"):
        plan(replace(PIXEL_8, policies=(silent,)), "locked")


def test_limits_never_cross_on_the_way_there_or_back():
    capped = replace(PIXEL_8.policies[2], scaling_max_mhz=1000.0)
    (change,) = plan(replace(PIXEL_8, policies=(capped,)), "locked")[2:]
    assert change.command.index("scaling_max_freq") < change.command.index("scaling_min_freq")
    assert change.undo.index("scaling_min_freq") < change.undo.index("scaling_max_freq")


# ---- on a software phone


@pytest.fixture
def attach(phone_rig, use_rig):
    """`attach("pixel-8", rooted=True)`: a phone of its own and the way to it."""

    def make(model="pixel-8", **options):
        phone = phone_rig.phone(model, **options)
        use_rig(phone_rig)
        return phone, find_adb().link(phone.serial)

    return make


def state_of(link):
    return read_preflight(link.shell(PREFLIGHT).out)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "mode", "options"),
    [
        ("pixel-8", "stock", {}),
        ("pixel-1", "stock", {}),
        ("pixel-8", "fixed", {}),
        ("pixel-8", "locked", {"rooted": True}),
        ("pixel-1", "locked", {"rooted": True}),
    ],
)
def test_a_phone_is_prepared_and_left_as_it_was_found(attach, model, mode, options):
    phone, link = attach(model, **options)
    link.shell("cmd power set-mode 1")
    before, found = state_of(link), phone.settings()
    planned = changes(before, mode, True, False)
    apply(link, planned)
    during = state_of(link)
    assert during.awake is True
    assert during.settings["low_power"] == "0"
    assert during.settings["screen_brightness"] == "1"
    assert during.settings.get("airplane_mode_on") == ("1" if model == "pixel-8" else "0")
    assert all(p.scaling_min_mhz == p.scaling_max_mhz for p in during.policies) == (mode != "stock")
    used = during.policies[-1].cpus
    names = [gate.name for gate in check(during, used, ambient_c=21.0, forced=mode != "stock")]
    assert names == ["CHARGING"]
    undone = {change.what for change in planned if change.undo}
    assert set(pending(link)) == undone
    assert restore(link) == ()
    assert phone.settings() == found
    assert pending(link) == ()
    assert restore(link) == ()  # once more does no harm
    assert link.shell(f"ls {RESTORE}*").code != 0


@pytest.mark.processes
@pytest.mark.slow
def test_a_run_that_was_killed_is_cleaned_up_after_by_the_next(attach):
    phone, link = attach()
    found = phone.settings()
    apply(link, changes(state_of(link), "fixed", True, False))
    assert phone.settings() != found
    # Nothing of that run is left but what lies on the phone.
    other = find_adb().link(phone.serial)
    with pytest.raises(PhoneError, match="another run has prepared"):
        apply(other, changes(state_of(other), "stock", True, False))
    assert "airplane mode" in pending(other)
    assert restore(other) == ()
    assert phone.settings() == found


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("event", [0, 1, 2, 3])
def test_a_phone_that_was_lost_anywhere_in_between_is_put_back_by_the_next(attach, event):
    phone, link = attach()
    found, state = phone.settings(), state_of(link)
    # The first shell writes what undoes, the second changes; seconds_in: in the middle of that.
    slow = Change(what="wait", command="sleep 1")
    planned = changes(state, "fixed", True, False)
    rules = [
        Fault(on="shell", do="unplug", seconds=0.5),
        Fault(on="shell", do="unplug", seconds=0.5, skip=1),
        Fault(on="shell", do="unplug", seconds=0.5, skip=1, seconds_in=0.1),
        Fault(on="shell", do="unplug", seconds=0.5, skip=1, seconds_in=0.5),
    ]
    phone.set_rules(rules[event])
    try:
        apply(link, [*planned[:3], slow, *planned[3:]])
    except LinkLostError:
        link.wait_back()
    assert phone.fired()
    assert restore(link) == ()
    assert phone.settings() == found


@pytest.mark.processes
@pytest.mark.slow
def test_the_mode_that_a_phone_refuses_is_an_error_and_nothing_stays_changed(attach):
    phone, link = attach("pixel-1")
    found = phone.settings()
    # It says it is new enough; the hardware layer has no such mode.
    state = state_of(link)
    claimed = replace(state, props={**state.props, "ro.build.version.sdk": "30"})
    planned = changes(claimed, "fixed", False, False)
    with pytest.raises(PhoneError, match="Failed to set FIXED_PERFORMANCE mode") as caught:
        apply(link, planned)
    assert "\n" not in str(caught.value)
    assert phone.settings() == found
    assert pending(link) == ()


@pytest.mark.processes
@pytest.mark.slow
def test_clocks_are_not_locked_without_root(attach):
    phone, link = attach()
    found = phone.settings()
    with pytest.raises(PhoneError, match="did not take 'the clock of CPU 0-3"):
        apply(link, changes(state_of(link), "locked", False, False))
    assert phone.settings() == found


@pytest.mark.processes
@pytest.mark.slow
def test_nothing_is_changed_where_what_undoes_it_cannot_be_written(attach):
    phone, link = attach(tmp_flags="ro")
    found = phone.settings()
    with pytest.raises(PhoneError, match="nothing can be written"):
        apply(link, changes(state_of(link), "stock", True, False))
    assert phone.settings() == found


@pytest.mark.processes
@pytest.mark.slow
def test_what_cannot_be_undone_is_told_and_not_tried_for_ever(attach):
    phone, link = attach()
    stubborn = Change(
        what="something", command="true", undo="true", read="echo new", before="old", after="new"
    )
    apply(link, [stubborn])
    assert restore(link) == (
        "something could not be undone: it was 'old' before and is 'new'; set it by hand",
    )
    assert pending(link) == ()
    assert phone.setting("system", "screen_brightness") == "102"
    with pytest.raises(InputError):
        apply(link, [])


@pytest.mark.processes
@pytest.mark.slow
def test_a_phone_without_shell_v2_is_prepared_too(attach):
    phone, link = attach("pixel-1", legacy=True)
    found = phone.settings()
    apply(link, changes(state_of(link), "stock", True, False))
    assert phone.setting("system", "screen_brightness") == "1"
    assert restore(link) == ()
    assert phone.settings() == found
