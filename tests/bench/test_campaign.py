"""Interleaving, the canary, the stop rule and records, on a device that follows a script."""

import contextlib
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.bench.campaign import (
    Added,
    Failure,
    Launched,
    Launching,
    Measured,
    run,
    try_out,
)
from mnasnet_deploy.bench.device import Device, Timing, Trial, launch_ms
from mnasnet_deploy.bench.plan import Candidate, Cell, arrange, make_plan, order
from mnasnet_deploy.errors import ModelFileError, NotReadyError
from mnasnet_deploy.results.codec import decode, encode
from mnasnet_deploy.results.record import Artifact, Conditions, DeviceInfo, Settings

SETTINGS = Settings(
    profile="host",
    threads=1,
    delegate="xnnpack",
    cpus=(),
    warmup_runs=5,
    warmup_ms=1000.0,
    runs=50,
    min_ms=2000.0,
    launches=10,
    max_launches=30,
    seed=11,
)
TRIAL = Trial(
    overhead_ms=300.0, run_ms=2.0, peak_memory_mib=61.5, delegated=True, facts=("a trial fact",)
)


@dataclass
class Script:
    """A device whose launches take what the script says.

    Attributes:
        latency: ms by file name and number of the launch of that file, from 0.
        discard: the rule that voids a launch, by the same.
        log: files in the order they were launched.
    """

    latency: Callable[[str, int], float] = lambda file, number: 4.5
    discard: Callable[[str, int], str] = lambda file, number: ""
    log: list[str] = field(default_factory=list)
    name: str = "script"
    key: str = "script"

    def settle(self, settings: Settings) -> Settings:
        return settings

    @contextlib.contextmanager
    def session(self, settings, say):
        yield

    def stop(self) -> None:
        raise AssertionError("nobody stops a script")

    def info(self) -> DeviceInfo:
        return DeviceInfo(kind="host", name="Script", os="", cpu="Script", cores=1, memory_mib=0,
                          runtime="script 1")  # fmt: skip

    def conditions(self, settings: Settings) -> Conditions:
        return Conditions(time=f"2026-05-17T00:00:{len(self.log) % 60:02d}+00:00")

    def trial(self, model: Path, settings: Settings) -> Trial:
        if "broken" in model.name:
            raise ModelFileError(f"{model.name} is refused by the runtime")
        return TRIAL

    def launch(self, model: Path, settings: Settings, trial: Trial) -> Timing:
        number = self.log.count(model.name)
        self.log.append(model.name)
        discarded = self.discard(model.name, number)
        median_ms = self.latency(model.name, number)
        samples = () if discarded else (median_ms,) * 5
        return Timing(
            init_ms=9.0, first_ms=5.0, samples_ms=samples, others_load=0.02, discarded=discarded
        )


def test_the_script_is_a_device():
    device: Device = Script()
    assert device.info().name == "Script"


@pytest.fixture
def cell(tmp_path):
    """Makes a cell of a file that lies on the disk; a longer file is written for a higher size."""
    numbers = itertools.count()

    def make(name, size=10, **settings):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(name.encode().ljust(size))
        artifact = Artifact(
            file=path.name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            size_bytes=size,
        )
        return Cell(
            number=next(numbers),
            path=path,
            artifact=artifact,
            settings=replace(SETTINGS, **settings),
        )

    return make


CAMPAIGN = "20260517t000000000-00c0ffee"


def plan_of(cells):
    return make_plan(arrange(cells), [Candidate(cell=one, trial=TRIAL) for one in cells])


def events(device, cells, **settings):
    return run(device, plan_of(cells), campaign=CAMPAIGN, info=device.info(), **settings)


def measure(device, cells, **settings):
    """Records and failures, in order."""
    return [
        event.record if isinstance(event, Measured) else event
        for event in events(device, cells, **settings)
        if isinstance(event, (Measured, Failure))
    ]


# ---- order


@given(
    cells=st.integers(1, 12),
    blocks=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
    first_block=st.integers(0, 100),
)
def test_every_block_holds_every_cell_once_and_the_canary_brackets_them(
    cells, blocks, seed, first_block
):
    laid_out = order(cells, blocks, seed, first_block)
    assert len(laid_out) == blocks
    assert all(sorted(block) == list(range(cells)) for block in laid_out)
    assert all(block[0] == 0 for block in laid_out[:-1])
    assert laid_out[-1][0 if blocks == 1 else -1] == 0
    assert laid_out == order(cells, blocks, seed, first_block)


def test_the_order_of_a_seed_is_the_same_on_every_machine_and_version():
    assert order(5, 3, 42) == ((0, 4, 1, 2, 3), (0, 3, 1, 2, 4), (1, 4, 3, 2, 0))
    assert order(5, 3, 42) != order(5, 3, 43)
    assert order(5, 3, 42) != order(5, 3, 42, first_block=3)


def test_the_stored_seed_gives_the_order_back(cell):
    records = measure(Script(), [cell("b"), cell("c"), cell("d"), cell("a", size=5)])
    # The canary is the smallest file; the others stay as they were named.
    files = [f"{name}.tflite" for name in "abcd"]
    ran = {
        (launch.block, launch.position): record.artifact.file
        for record in records
        for launch in record.launches
    }
    seed = records[0].settings.seed
    for block, line in enumerate(order(4, 10, seed)):
        assert [ran[block, position] for position in range(4)] == [files[i] for i in line]


# ---- plan


def test_the_estimate_is_the_sum_of_its_launches(cell):
    plan = plan_of([cell(name) for name in "ab"])
    one = 300 + 1000 + 2000
    assert launch_ms(SETTINGS, TRIAL) == one
    assert plan.least_ms == 2 * 10 * one
    assert plan.most_ms == 2 * 30 * one


def test_a_slow_file_is_planned_by_its_runs(cell):
    slow = replace(TRIAL, run_ms=400.0)
    assert launch_ms(SETTINGS, slow) == 300 + 5 * 400 + 50 * 400


@given(count=st.integers(0, 45))
def test_groups_are_even_and_lose_no_cell(count):
    cells = [
        Cell(
            number=number,
            path=Path(f"{number}.tflite"),
            artifact=Artifact(file=f"{number}.tflite", sha256="0" * 64, size_bytes=number * 7 % 5),
            settings=SETTINGS,
        )
        for number in range(count)
    ]
    groups = plan_of(cells).groups
    assert sorted(c.cell.path for group in groups for c in group) == sorted(c.path for c in cells)
    sizes = [len(group) for group in groups]
    assert max(sizes, default=0) <= 10
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    for group in groups:
        smallest = min(candidate.cell.artifact.size_bytes for candidate in group)
        assert group[0].cell.artifact.size_bytes == smallest


def test_a_file_that_does_not_run_does_not_stop_the_others(cell):
    outcomes = list(try_out(Script(), [cell("a"), cell("broken"), cell("c")]))[1::2]
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [False, True, False]
    assert outcomes[1].refused


def test_the_rest_of_a_group_goes_on_with_another_canary(cell):
    cells = [cell("canary", size=5), cell("b", size=9), cell("small", size=6), cell("c", size=9)]
    groups = arrange(cells)
    assert groups[0][0].artifact.file == "canary.tflite"
    rest = make_plan(groups, [Candidate(cell=one, trial=TRIAL) for one in cells[1:]])
    assert [c.cell.artifact.file for c in rest.candidates] == [
        "small.tflite", "b.tflite", "c.tflite",
    ]  # fmt: skip
    assert make_plan(groups, []).groups == ()


# ---- run


def test_a_quiet_device_gives_one_valid_record_for_each_cell(cell):
    device = Script(latency=lambda file, number: 4.5 if file == "a.tflite" else 9.0)
    records = measure(device, [cell("a"), cell("b")])
    assert [record.artifact.file for record in records] == ["a.tflite", "b.tflite"]
    assert [record.estimate.median_ms for record in records] == [4.5, 9.0]
    for record in records:
        assert record.verdict == "valid"
        assert len(record.launches) == 10
        assert record.peak_memory_mib == 61.5
        assert "a trial fact" in record.before.facts
        assert "other processes used 2.0%" in record.after.facts[0]
        assert decode(encode(record).encode()) == record
    assert [record.id for record in records] == [f"{CAMPAIGN}-0000", f"{CAMPAIGN}-0001"]
    assert {record.campaign for record in records} == {CAMPAIGN}
    assert len(device.log) == 20


def test_a_file_that_varies_gets_more_launches_and_the_quiet_one_does_not(cell):
    def latency(file, number):
        return 4.0 + number % 5 / 5 if file == "wild.tflite" else 4.5

    device = Script(latency=latency)
    heard = list(
        events(device, [cell("calm", size=5), cell("quiet"), cell("wild", max_launches=20)])
    )
    records = [event.record for event in heard if isinstance(event, Measured)]
    added = [event.launches for event in heard if isinstance(event, Added)]
    launches = {record.artifact.file: len(record.launches) for record in records}
    # The canary stays with the others to the end.
    assert launches == {"quiet.tflite": 10, "wild.tflite": 20, "calm.tflite": 20}
    assert [record.artifact.file for record in records] == [
        "quiet.tflite", "calm.tflite", "wild.tflite",
    ]  # fmt: skip
    assert sum(added) == 20
    assert sum(event.ms for event in heard if isinstance(event, Added)) == 20 * 3300
    assert len(device.log) == 50
    begun = [event.cell.artifact.file for event in heard if isinstance(event, Launching)]
    ended = [e.candidate.cell.artifact.file for e in heard if isinstance(e, Launched)]
    assert begun == ended == device.log


def test_records_come_as_they_are_finished(cell):
    device = Script(latency=lambda file, number: 4.0 + number % 5 if file == "b.tflite" else 4.5)
    cells = [cell("a", size=5), cell("b"), cell("c")]
    first = next(event for event in events(device, cells) if isinstance(event, Measured))
    assert first.record.artifact.file == "c.tflite"
    assert len(device.log) == 30


def test_one_group_is_finished_before_the_next_begins(cell):
    device = Script()
    cells = [cell(f"f{number:02d}") for number in range(11)]
    records = measure(device, cells)
    assert [record.artifact.file for record in records] == [one.artifact.file for one in cells]
    assert set(device.log[:50]) == {one.artifact.file for one in cells[:5]}
    slots = [(launch.block, launch.position) for record in records for launch in record.launches]
    assert len(set(slots)) == len(slots), "no place in the campaign is taken twice"


def test_what_goes_on_takes_no_place_again(cell):
    (record,) = measure(Script(), [cell("a")], first_block=17)
    assert [launch.block for launch in record.launches] == list(range(17, 27))


def test_voided_launches_are_kept_and_repeated(cell):
    device = Script(discard=lambda file, number: "HUNG (no answer)" * (number in (2, 5)))
    (record,) = measure(device, [cell("a")])
    assert record.verdict == "valid"
    assert len(record.launches) == 12
    assert record.estimate.launches == 10
    assert [launch.discarded for launch in record.launches].count("HUNG (no answer)") == 2


def test_a_file_that_keeps_crashing_ends_invalid_and_the_others_go_on(cell):
    def discard(file, number):
        return "CRASHED (signal 11)" if file == "bad.tflite" else ""

    device = Script(discard=discard)
    bad, good, other = measure(device, [cell("bad", size=5), cell("good"), cell("other")])
    assert bad.verdict == "invalid"
    assert bad.estimate is None
    assert "CRASHED (signal 11)" in bad.reasons[0]
    assert (good.verdict, other.verdict) == ("valid", "valid")


def test_a_machine_that_slows_down_shows_in_the_canary_for_all(cell):
    device = Script()
    device.latency = lambda file, number: 4.5 * (1 + len(device.log) / 400)
    records = measure(device, [cell("a"), cell("b")])
    for record in records:
        assert any(reason.startswith("CANARY-DRIFT: the canary a.tflite") for reason in
                   record.reasons)  # fmt: skip


def test_a_file_that_changes_meanwhile_gives_no_record(cell):
    changing, still = cell("changing", size=5), cell("still")
    device = Script()

    def latency(file, number):
        if number == 9:
            changing.path.write_bytes(b"other")
        return 4.5

    device.latency = latency
    failure, record = measure(device, [changing, still])
    assert isinstance(failure, Failure)
    assert "changed while it was measured" in str(failure.error)
    assert record.artifact.file == "still.tflite"


def test_a_file_that_is_gone_gives_no_record(cell):
    gone = cell("gone")
    device = Script()
    device.latency = lambda file, number: gone.path.unlink(missing_ok=True) or 4.5
    (failure,) = measure(device, [gone])
    assert isinstance(failure, Failure)


def test_a_device_that_goes_away_ends_the_campaign(cell):
    class Gone(Script):
        def launch(self, model, settings, trial):
            if len(self.log) == 3:
                raise NotReadyError("gone")
            return super().launch(model, settings, trial)

    with pytest.raises(NotReadyError):
        measure(Gone(), [cell("a"), cell("b")])


def test_one_launch_of_one_file_is_possible(cell):
    (record,) = measure(Script(), [cell("a", launches=1, max_launches=1)])
    assert record.verdict == "noisy"
    assert record.reasons[0].startswith("FEW-LAUNCHES")
    assert record.estimate.coverage == 0
