"""Profiles are read strictly, say what is known of real phones, and the phone is always right."""

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from mnasnet_deploy.bench.android_state import read_preflight
from mnasnet_deploy.bench.clusters import core_name, mask
from mnasnet_deploy.bench.phone_profile import (
    PhoneProfile,
    all_profiles,
    differences,
    implausible,
    load,
    match,
)
from mnasnet_deploy.errors import InputError

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "phones"
PIXEL_8 = read_preflight((DATA / "pixel-8.txt").read_bytes())
PIXEL_1 = read_preflight((DATA / "pixel-1.txt").read_bytes())
TEXT = (ROOT / "profiles" / "pixel_8.yaml").read_text(encoding="utf-8")


def test_there_is_a_profile_for_every_pixel_from_1_to_10():
    names = [profile.name for profile in all_profiles()]
    assert names == [
        "pixel_1", "pixel_2", "pixel_3", "pixel_3a", "pixel_4", "pixel_4a", "pixel_5", "pixel_6",
        "pixel_7", "pixel_8", "pixel_9", "pixel_10",
    ]  # fmt: skip


# android.md's table: CPUs that share a clock, slowest first.
MASKS = {
    "pixel_1": ["3", "c"],
    "pixel_2": ["f", "f0"],
    "pixel_3": ["f", "f0"],
    "pixel_3a": ["3f", "c0"],
    "pixel_4": ["f", "70", "80"],
    "pixel_4a": ["3f", "c0"],
    "pixel_5": ["3f", "40", "80"],
    "pixel_6": ["f", "30", "c0"],
    "pixel_7": ["f", "30", "c0"],
    "pixel_8": ["f", "f0", "100"],
    "pixel_9": ["f", "70", "80"],
    "pixel_10": ["3", "7c", "80"],
}


@pytest.mark.parametrize("profile", all_profiles(), ids=lambda profile: profile.name)
def test_a_profile_says_what_is_known(profile):
    assert [mask(cluster.cpus) for cluster in profile.clusters] == MASKS[profile.name]
    clocks = [cluster.max_mhz for cluster in profile.clusters]
    assert clocks == sorted(clocks)
    assert profile.source
    assert list(profile.skin_limits_c) == sorted(profile.skin_limits_c)
    assert profile.stock_governors in ((), profile.governors.names)
    # A core nobody knows would never be the same as the phone's.
    known = {core_name(midr << 4 | 0x41 << 24) for midr in range(0xD00, 0xD90)} | {
        core_name(midr << 4 | 0x51 << 24) for midr in range(0x200, 0x900)
    }
    assert {cluster.core for cluster in profile.clusters} <= known


def test_no_two_profiles_want_the_same_phone():
    devices = [device for profile in all_profiles() for device in profile.devices]
    assert len(devices) == len(set(devices))


def test_what_is_uncertain_is_marked():
    uncertain = {p.name for p in all_profiles() if not all(c.certain for c in p.clusters)}
    assert uncertain == {
        "pixel_3", "pixel_3a", "pixel_4", "pixel_4a", "pixel_5", "pixel_9", "pixel_10",
    }  # fmt: skip
    assert load("pixel_8").stock_governors == ()
    assert load("pixel_6").stock_governors == ("sched_pixel",)


def test_a_phone_finds_its_profile():
    for state, name in ((PIXEL_8, "pixel_8"), (PIXEL_1, "pixel_1")):
        profile = match(state)
        assert profile is not None
        assert profile.name == name
        assert differences(profile, state) == ()
    assert match(replace(PIXEL_8, props={"ro.product.device": "husky"})) == load("pixel_8")
    assert match(replace(PIXEL_8, props={"ro.product.device": "starlte"})) is None
    assert match(replace(PIXEL_8, props={})) is None


def test_a_phone_that_differs_is_told_and_is_right():
    nine = load("pixel_8")
    slow = replace(PIXEL_8.cores[8], max_mhz=2200.0)
    other = replace(PIXEL_8.cores[4], midr=0x411FD811)
    cores = (*PIXEL_8.cores[:4], other, *PIXEL_8.cores[5:8], slow)
    state = replace(PIXEL_8, cores=cores, props={**PIXEL_8.props, "ro.soc.model": "Tensor G4"})
    assert differences(nine, state) == (
        "its SoC is Tensor G4, the profile pixel_8 says Tensor G3",
        "CPU 4-7 are Cortex-A720, the profile pixel_8 says Cortex-A715",
        "CPU 8 run at up to 2200 MHz, the profile pixel_8 says 2914",
    )
    few = replace(PIXEL_8, cores=PIXEL_8.cores[:8])
    assert differences(nine, few) == ("it has 8 cores, the profile pixel_8 says 9",)


def test_what_a_profile_is_not_certain_of_makes_no_difference():
    unsure = replace(
        load("pixel_8"),
        clusters=tuple(replace(c, certain=False, max_mhz=1.0) for c in load("pixel_8").clusters),
    )
    assert differences(unsure, PIXEL_8) == ()


def test_what_a_phone_does_not_say_makes_no_difference():
    silent = tuple(replace(core, midr=None, max_mhz=None) for core in PIXEL_8.cores)
    assert differences(load("pixel_8"), replace(PIXEL_8, cores=silent, props={})) == ()


def test_a_number_that_cannot_be_is_noticed():
    key = {"network": "mobilenet-v2", "multiplier": "1.0", "resolution": 224, "threads": 1}
    pixel = load("pixel_1")
    assert implausible(pixel, scheme="float32", ms=49.0, **key) == ""
    assert implausible(pixel, scheme="float32", ms=60.0, **key) == ""
    assert implausible(pixel, scheme="float32", ms=12.0, **key).startswith(
        "12.0 ms is -76% from the 49 ms that the README of XNNPACK gives for Pixel"
    )
    assert implausible(pixel, scheme="int8", ms=12.0, **key) == ""
    assert implausible(load("pixel_9"), scheme="float32", ms=1.0, **key) == ""


def test_a_profile_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("Pixel 8,", "My phone,"), encoding="utf-8")
    profile = load(str(path))
    assert profile.name == "mine"
    assert profile.phones[0] == "My phone"


def test_a_name_nobody_knows_is_an_error_that_lists_them():
    with pytest.raises(InputError, match=r"'pixel_11'; choose one of pixel_1, .*pixel_10, or name"):
        load("pixel_11")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("soc:", "sock:", "unknown key 'sock'"),
        ("platform: zuma\n", "", "platform"),
        ("max_mhz: 1704", "max_mhz: fast", "max_mhz is 'fast', not a number"),
        ("max_mhz: 1704", "max_mhz: -1", "a clock above 0"),
        ("cpus: [8]", "cpus: [7]", "every CPU from 0 up once"),
        ("cpus: [8]", "cpus: []", "a clock above 0"),
        ("cpus: [8]", "cpus: 8", "not a list"),
        ("certain: true}", "certain: 1}", "certain is 1, not bool"),
        ("[39, 43, 45]", "[39, 43]", "skin_limits_c are three"),
        ("devices: [shiba, husky, akita]", "devices: []", "may not be empty"),
        ("soc: Tensor G3", "soc: &a Tensor G3\nplatform: *a", "aliases"),
        ("soc: Tensor G3", "soc: Tensor G3\nname: other", "unknown key 'name'"),
        ("soc: Tensor G3", "soc: !!python/name:os.system", "YAML|tag|constructor"),
        ("soc: Tensor G3", "soc: Tensor G3\nsoc: other", "twice"),
    ],
)
def test_a_profile_that_says_it_wrong_is_an_error_of_one_line(tmp_path, old, new, message):
    assert old in TEXT
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_a_file_that_is_not_there_is_an_error():
    with pytest.raises(InputError, match=r"nowhere.yaml"):
        load("nowhere.yaml")


def test_every_key_is_explained_in_the_readme_of_the_profiles():
    readme = (ROOT / "profiles" / "README.md").read_text(encoding="utf-8")
    for key in {field.name for field in fields(PhoneProfile)} - {"name"}:
        assert f"`{key}`" in readme


@pytest.mark.processes
@pytest.mark.slow
def test_profiles_are_found_where_there_is_no_checkout_and_cost_little(tmp_path):
    code = (
        "import sys\n"
        "from mnasnet_deploy.bench.phone_profile import load\n"
        "assert load('pixel_8').soc == 'Tensor G3'\n"
        "print(sorted({'numpy', 'rich', 'tensorflow', 'ai_edge_litert'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
