"""The cores of real phones are grouped and chosen right; masks are those of Android's taskset."""

from dataclasses import replace
from pathlib import Path

import pytest

from mnasnet_deploy.bench.android_state import Core, read_preflight
from mnasnet_deploy.bench.clusters import (
    check_cpus,
    choose,
    choose_from,
    clusters,
    core_name,
    describe,
    mask,
    ranges,
)
from mnasnet_deploy.errors import InputError

STATE = read_preflight((Path(__file__).parents[1] / "data" / "phones" / "pixel-8.txt").read_bytes())


def phone(*groups, capacities=()):
    """A phone with cores in groups of (count, part, MHz, implementer), from CPU 0 up."""
    cores = []
    for place, (count, part, mhz, implementer) in enumerate(groups):
        midr = None if part is None else implementer << 24 | 15 << 16 | part << 4 | 1
        for _ in range(count):
            cores.append(
                Core(
                    cpu=len(cores),
                    capacity=capacities[place] if capacities else None,
                    max_mhz=mhz,
                    midr=midr,
                )
            )
    return replace(STATE, cores=tuple(cores))


ARM, QUALCOMM = 0x41, 0x51
PHONES = {
    "Pixel": phone((2, 0x201, 1593.6, QUALCOMM), (2, 0x205, 2150.4, QUALCOMM)),
    "Pixel 2": phone((4, 0x801, 1900.8, QUALCOMM), (4, 0x800, 2457.6, QUALCOMM)),
    "Pixel 3a": phone((6, 0x803, 1708.8, QUALCOMM), (2, 0x802, 1996.8, QUALCOMM)),
    "Pixel 4": phone(
        (4, 0x805, 1785.6, QUALCOMM), (3, 0x804, 2419.2, QUALCOMM), (1, 0x804, 2841.6, QUALCOMM)
    ),
    "Pixel 5": phone(
        (6, 0x805, 1804.8, QUALCOMM), (1, 0x804, 2208.0, QUALCOMM), (1, 0x804, 2400.0, QUALCOMM)
    ),
    "Pixel 6": phone(
        (4, 0xD05, 1803, ARM), (2, 0xD0B, 2253, ARM), (2, 0xD44, 2802, ARM),
        capacities=(250, 620, 1024),
    ),
    "Pixel 8": STATE,
    "Pixel 10": phone((2, 0xD80, 2250, ARM), (5, 0xD87, 3050, ARM), (1, 0xD82, 3780, ARM)),
    "Moto G5": phone((4, 0xD03, 1401.0, ARM), (4, 0xD03, 1094.4, ARM)),
    "Leagoo T5c": phone((4, 0xD03, 1872.0, ARM), (4, 0xD03, 1872.0, ARM)),
    "homogeneous": phone((8, 0xD05, 1800.0, ARM)),
}  # fmt: skip

# Slowest first, as masks: android.md's table, where cores of one design are one cluster.
CLUSTERS = {
    "Pixel": ["3", "c"],
    "Pixel 2": ["f", "f0"],
    "Pixel 3a": ["3f", "c0"],
    "Pixel 4": ["f", "f0"],
    "Pixel 5": ["3f", "c0"],
    "Pixel 6": ["f", "30", "c0"],
    "Pixel 8": ["f", "f0", "100"],
    "Pixel 10": ["3", "7c", "80"],
    "Moto G5": ["f0", "f"],
    "Leagoo T5c": ["ff"],
    "homogeneous": ["ff"],
}

CHOSEN = [
    ("Pixel", 1, "8"),
    ("Pixel", 2, "c"),
    ("Pixel 2", 1, "80"),
    ("Pixel 2", 4, "f0"),
    ("Pixel 3a", 1, "80"),
    ("Pixel 3a", 2, "c0"),
    ("Pixel 3a", 4, "3c"),  # it has two fast cores only
    ("Pixel 4", 1, "80"),
    ("Pixel 4", 3, "70"),  # of one clock
    ("Pixel 4", 4, "f0"),
    ("Pixel 5", 1, "80"),
    ("Pixel 5", 2, "c0"),
    ("Pixel 6", 1, "80"),
    ("Pixel 6", 2, "c0"),
    ("Pixel 6", 4, "f"),
    ("Pixel 8", 1, "100"),
    ("Pixel 8", 2, "c0"),
    ("Pixel 8", 4, "f0"),
    ("Pixel 10", 1, "80"),
    ("Pixel 10", 5, "7c"),
    ("Moto G5", 1, "8"),
    ("Moto G5", 4, "f"),
    ("Moto G5", 8, "ff"),
    ("homogeneous", 4, "f0"),
    ("homogeneous", 8, "ff"),
]


@pytest.mark.parametrize("name", PHONES)
def test_clusters_of_a_real_phone(name):
    assert [mask(cluster.cpus) for cluster in clusters(PHONES[name])] == CLUSTERS[name]


@pytest.mark.parametrize(("name", "threads", "expected"), CHOSEN)
def test_cores_for_a_measurement(name, threads, expected):
    assert mask(choose(PHONES[name], threads)) == expected


@pytest.mark.parametrize("name", PHONES)
def test_chosen_cores_are_of_one_design_and_as_many_as_asked(name):
    by_cpu = {core.cpu: core for core in PHONES[name].cores}
    for threads in range(1, 9):
        try:
            chosen = choose(PHONES[name], threads)
        except InputError:
            continue
        assert len(chosen) == threads
        assert len({core_name(by_cpu[cpu].midr) for cpu in chosen}) == 1


def test_the_capacity_decides_where_all_cores_tell_it():
    # A slow clock can still be the faster core.
    state = phone((2, 0xD05, 2000, ARM), (2, 0xD44, 1800, ARM), capacities=(300, 1024))
    assert mask(choose(state, 2)) == "c"
    half = replace(state, cores=(replace(state.cores[0], capacity=None), *state.cores[1:]))
    assert mask(choose(half, 2)) == "3"


def test_cores_that_do_not_tell_their_design_are_told_apart_by_speed():
    state = phone((4, None, 1500, ARM), (4, None, 2000, ARM))
    assert [mask(cluster.cpus) for cluster in clusters(state)] == ["f", "f0"]
    assert clusters(state)[0].core == "unknown core"


def test_too_many_threads_are_refused_with_what_there_is():
    with pytest.raises(InputError) as caught:
        choose(STATE, 5)
    message = str(caught.value)
    assert "4 Cortex-A510 (CPU 0-3, 1704 MHz)" in message
    assert "1 Cortex-X3 (CPU 8, 2914 MHz)" in message
    assert "\n" not in message
    for wrong in (0, -1):
        with pytest.raises(InputError):
            choose(STATE, wrong)
    with pytest.raises(InputError, match="it names no cores"):
        choose(replace(STATE, cores=()), 1)


def test_a_cluster_by_its_name():
    assert mask(choose_from(STATE, "fast", 1)) == "100"
    assert mask(choose_from(STATE, "middle", 4)) == "f0"
    assert mask(choose_from(STATE, "little", 2)) == "c"
    assert mask(choose_from(PHONES["Pixel 4"], "fast", 3)) == "70"
    with pytest.raises(InputError, match="the fast cluster has 1 cores, not 2"):
        choose_from(STATE, "fast", 2)
    with pytest.raises(InputError, match="choose fast or little"):
        choose_from(PHONES["Pixel"], "middle", 1)
    with pytest.raises(InputError, match="no cluster 'huge'"):
        choose_from(STATE, "huge", 1)


def test_cpus_that_were_named_are_looked_at():
    assert check_cpus(STATE, (4, 5)) == ""
    assert check_cpus(STATE, (7, 8)) == (
        "CPU 7-8 are of several designs (Cortex-A715, Cortex-X3): the slowest decides"
    )
    with pytest.raises(InputError, match=r"CPU 9-10 is not on this phone \(4 Cortex-A510"):
        check_cpus(STATE, (8, 9, 10))


def test_a_mask_is_bare_hexadecimal():
    assert mask((8,)) == "100"
    assert mask((4, 5, 6, 7)) == "f0"


def test_ranges_as_people_write_them():
    assert ranges((7, 0, 1, 2, 3)) == "0-3,7"
    assert ranges(()) == ""


def test_a_design_nobody_has_named_yet_keeps_its_number():
    assert core_name(0x61 << 24 | 0x23 << 4) == "core 0x61/0x23"
    assert describe(PHONES["Pixel 5"]).endswith("2 Kryo 485 gold (CPU 6-7, 2400 MHz)")
