"""Several devices at once, on devices that do what a test says: trouble stays where it is."""

import contextlib
import hashlib
import json
import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mnasnet_deploy.bench import fleet
from mnasnet_deploy.bench.campaign import Failure, Launched, Trying
from mnasnet_deploy.bench.device import Device, StoppedError, Timing, Trial
from mnasnet_deploy.bench.fleet import Finished, Left, Ready, Said
from mnasnet_deploy.bench.keeper import Keeper
from mnasnet_deploy.bench.start import Remaining, ask, choose, find_models, go_on, start
from mnasnet_deploy.bench.system import holding
from mnasnet_deploy.errors import InputError, MnasnetError, ModelFileError, NotReadyError
from mnasnet_deploy.results import campaigns, store
from mnasnet_deploy.results.record import Artifact, Conditions, DeviceInfo, Settings

PATIENCE_S = 20.0
TIME = "2026-05-17T00:00:00+00:00"


@dataclass
class Puppet:
    """A device whose launches last no time, and that trouble can be ordered for.

    Attributes:
        name, kind, runtime: what it is.
        gone_at: the launch, from 0, at which it is gone for good.
        hangs_at: the launch that ends only when it is told to stop.
        refuses: file names it does not run.
        log: files in the order they were launched.
        restored: how often its session was left.
    """

    name: str = "puppet"
    kind: str = "host"
    runtime: str = "strings 1"
    gone_at: int | None = None
    hangs_at: int | None = None
    refuses: tuple[str, ...] = ()
    log: list[str] = field(default_factory=list)
    restored: int = 0
    hanging: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def key(self) -> str:
        return f"serial of {self.name}"

    def info(self) -> DeviceInfo:
        return DeviceInfo(kind=self.kind, name=self.name, os="", cpu="", cores=1, memory_mib=0,
                          runtime=self.runtime)  # fmt: skip

    def settle(self, settings: Settings) -> Settings:
        return settings

    def put_back(self, say):
        """Nothing was left changed."""

    @contextlib.contextmanager
    def session(self, settings, say):
        say("the screen is kept on")
        try:
            yield
        finally:
            self.restored += 1

    def conditions(self, settings: Settings) -> Conditions:
        return Conditions(time=TIME)

    def trial(self, model: Path, settings: Settings) -> Trial:
        if model.name in self.refuses:
            raise ModelFileError(f"{model.name} is refused")
        return Trial(overhead_ms=1.0, run_ms=1.0, peak_memory_mib=None, delegated=True)

    def launch(self, model: Path, settings: Settings, trial: Trial) -> Timing:
        if self.stopped.is_set():
            raise StoppedError
        if len(self.log) == self.gone_at:
            raise NotReadyError(f"{self.name} is gone")
        if len(self.log) == self.hangs_at:
            self.hanging.set()
            assert self.stopped.wait(PATIENCE_S)
            raise StoppedError
        self.log.append(model.name)
        return Timing(init_ms=1.0, first_ms=1.0, samples_ms=(1.0,) * 5)

    def stop(self) -> None:
        self.stopped.set()


@pytest.fixture
def files(tmp_path):
    """Four files with what they are."""
    folder = tmp_path / "models"
    folder.mkdir()
    found = []
    for size, name in enumerate("abcd", start=5):
        path = folder / f"{name}.tflite"
        path.write_bytes(name.encode() * size)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        artifact = Artifact(file=path.name, sha256=sha256, size_bytes=size)
        found.append((path, artifact))
    return found


@pytest.fixture
def bench(tmp_path, files, quick):
    """`bench(devices)` starts a campaign and gives its keeper and everything that happened."""

    def run(devices, which=files, folder=tmp_path / "results"):
        campaign, jobs = start(which, [ask(one, [quick]) for one in devices], seed=7)
        keeper = Keeper(campaign=campaign, folder=folder)
        heard = []
        with keeper, contextlib.closing(fleet.run(jobs, keeper)) as events:
            heard += [(job.device.name, news) for job, news in events]
        return keeper, heard

    return run


def of(heard, name, kind):
    return [news for device, news in heard if device == name and isinstance(news, kind)]


def ids(keeper):
    return sorted(path.stem for path in (keeper.folder / "records").glob("*.json"))


def test_the_puppet_is_a_device():
    device: Device = Puppet()
    assert device.key == "serial of puppet"


def test_two_devices_measure_every_file_each(bench):
    devices = [Puppet("one"), Puppet("two")]
    keeper, heard = bench(devices)
    assert len(keeper.kept) == 8
    assert keeper.unfinished() == ()
    for device in devices:
        assert len(of(heard, device.name, Finished)) == 4
        assert [news.text for news in of(heard, device.name, Said)] == ["the screen is kept on"]
        assert [news.error for news in of(heard, device.name, Left)] == [None]
        assert device.restored == 1
        kinds = [type(news) for name, news in heard if name == device.name]
        assert kinds.index(Trying) < kinds.index(Ready) < kinds.index(Launched)
    assert ids(keeper) == [f"{keeper.campaign.id}-{number:04d}" for number in range(8)]
    for number, cell in enumerate(keeper.campaign.cells):
        record = store.read_record(
            store.record_path(keeper.folder, campaigns.record_id(keeper.campaign.id, number))
        )
        assert record.artifact == cell.artifact
        assert record.device.name == devices[cell.device].name
        assert record.campaign == keeper.campaign.id


def test_a_device_that_goes_away_stops_no_other(bench):
    lost, other = Puppet("lost", gone_at=5), Puppet("other")
    keeper, heard = bench([lost, other])
    assert [str(news.error) for news in of(heard, "lost", Left)] == ["lost is gone"]
    assert len(of(heard, "other", Finished)) == 4
    assert lost.restored == 1
    assert set(keeper.unfinished()) == set(campaigns.cells_on(keeper.campaign, 0))


def test_a_file_a_device_refuses_is_not_asked_for_again(bench):
    keeper, heard = bench([Puppet("one", refuses=("a.tflite",)), Puppet("two")])
    assert [news.cell.path.name for news in of(heard, "one", Failure)] == ["a.tflite"]
    assert keeper.unfinished() == ()
    assert len(keeper.kept) == 7
    (read,) = campaigns.load(keeper.folder).campaigns
    assert [cell.refused for cell in read.cells if cell.refused] == ["a.tflite is refused"]


def test_where_nothing_runs_nothing_is_written(bench, files):
    keeper, _ = bench([Puppet(refuses=tuple(path.name for path, _ in files))])
    assert not keeper.folder.exists()


def test_the_plan_is_on_disk_before_the_first_launch(bench, tmp_path):
    seen = []

    class Watching(Puppet):
        def launch(self, model, settings, trial):
            seen.append(len(campaigns.load(tmp_path / "results").campaigns))
            return super().launch(model, settings, trial)

    bench([Watching()])
    assert seen
    assert set(seen) == {1}


def test_no_serial_is_in_the_plan(bench):
    keeper, _ = bench([Puppet("Pixel 8", kind="android")])
    text = (keeper.folder / "campaigns" / f"{keeper.campaign.id}.json").read_text()
    assert "serial" not in text
    assert campaigns.device_hash(keeper.campaign.id, "serial of Pixel 8") in text


def test_a_plan_only_runs_no_launch_and_writes_nothing(tmp_path, files, quick):
    device = Puppet()
    _, jobs = start(files, [ask(device, [quick])], seed=7)
    heard = [news for _, news in fleet.run(jobs, None)]
    assert isinstance(heard[-1], Left)
    assert sum(isinstance(news, Ready) for news in heard) == 1
    assert device.log == []
    assert device.restored == 1
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_closing_stops_all_and_leaves_them_as_they_were(tmp_path, files, quick):
    before = set(threading.enumerate())
    devices = [Puppet("one", hangs_at=3), Puppet("two", hangs_at=0)]
    campaign, jobs = start(files, [ask(one, [quick]) for one in devices], seed=7)
    with Keeper(campaign=campaign, folder=tmp_path / "results") as keeper:
        events = fleet.run(jobs, keeper)
        next(events)
        assert all(device.hanging.wait(PATIENCE_S) for device in devices)
        events.close()
    assert [device.restored for device in devices] == [1, 1]
    assert set(threading.enumerate()) <= before


def test_results_that_cannot_be_kept_stop_all(tmp_path, files, quick):
    """A record's name is taken by something else: as bad as a full disk, and easier to make."""
    devices = [Puppet("one"), Puppet("two", hangs_at=0)]
    campaign, jobs = start(files, [ask(one, [quick]) for one in devices], seed=7)
    folder = tmp_path / "results"
    taken = store.record_path(folder, campaigns.record_id(campaign.id, 1))
    taken.parent.mkdir(parents=True)
    taken.write_text("half a rec")
    with (
        Keeper(campaign=campaign, folder=folder) as keeper,
        pytest.raises(MnasnetError, match="never overwritten"),
    ):
        list(fleet.run(jobs, keeper))
    assert [device.restored for device in devices] == [1, 1]
    assert taken.read_text() == "half a rec"


def test_a_bug_in_a_device_is_not_swallowed(tmp_path, files, quick):
    class Buggy(Puppet):
        def launch(self, model, settings, trial):
            raise ZeroDivisionError

    _, jobs = start(files, [ask(Buggy(), [quick])], seed=7)
    keeper = Keeper(campaign=_, folder=tmp_path / "results")
    with keeper, pytest.raises(ZeroDivisionError):
        list(fleet.run(jobs, keeper))


# ---- going on


@pytest.fixture
def resume(files):
    """`resume(keeper, devices)` goes on with a campaign and gives keeper, rest and events."""

    def run(keeper, devices, paths=None):
        (read,) = campaigns.load(keeper.folder).campaigns
        again = Keeper(campaign=read, folder=keeper.folder)
        heard, said = [], []
        with again:
            again.hold()
            models = find_models(
                [cell.artifact for cell in read.cells], paths or [path for path, _ in files]
            )
            rest: Remaining = go_on(read, keeper.folder, models, devices, said.append)
            with contextlib.closing(fleet.run(rest.jobs, again)) as events:
                heard += [(job.device.name, news) for job, news in events]
        return again, rest, heard, said

    return run


def test_resume_measures_exactly_what_is_missing(bench, resume):
    keeper, _ = bench([Puppet("one", gone_at=5), Puppet("two")])
    before = {path: path.read_bytes() for path in (keeper.folder / "records").iterdir()}
    one, two = Puppet("one"), Puppet("two")
    again, rest, heard, said = resume(keeper, [two, one])
    assert len(rest.jobs) == 1
    assert two.log == []
    assert len(of(heard, "one", Finished)) == 4
    assert again.unfinished() == ()
    assert said == []
    assert len(ids(again)) == 8
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_group_that_is_half_done_goes_on_without_taking_a_place_twice(bench, resume):
    keeper, _ = bench([Puppet("one")])
    gone = store.record_path(keeper.folder, campaigns.record_id(keeper.campaign.id, 2))
    gone.unlink()
    device = Puppet("one")
    again, *_ = resume(keeper, [device])
    assert device.log == ["c.tflite"] * 2
    records = store.load(again.folder).records
    slots = [(launch.block, launch.position) for one in records for launch in one.launches]
    assert len(set(slots)) == len(slots)


def test_a_file_that_changed_fails_alone(bench, resume, files):
    keeper, _ = bench([Puppet("one", gone_at=0)])
    files[1][0].write_bytes(b"B" * 6)
    again, rest, heard, _ = resume(keeper, [Puppet("one")])
    assert list(rest.by_file) == ["b.tflite"]
    assert "changed since the campaign started" in str(rest.by_file["b.tflite"])
    assert len(of(heard, "one", Finished)) == 3
    assert again.unfinished() == (1,)


def test_a_file_is_found_under_another_name(bench, resume, files):
    keeper, _ = bench([Puppet("one", gone_at=0)])
    moved = files[1][0].rename(files[1][0].with_name("moved.tflite"))
    paths = [moved if path.name == "b.tflite" else path for path, _ in files]
    again, rest, *_ = resume(keeper, [Puppet("one")], paths)
    assert rest.by_file == {}
    assert again.unfinished() == ()


def test_a_phone_that_is_not_there_is_named_and_the_others_go_on(bench, resume):
    keeper, _ = bench([Puppet("Pixel 1", gone_at=0), Puppet("Pixel 8", gone_at=0)])
    again, rest, heard, _ = resume(keeper, [Puppet("Pixel 8"), Puppet("Pixel 9")])
    assert "Pixel 1 of the campaign is not attached" in str(rest.by_device["Pixel 1"])
    assert isinstance(rest.by_device["Pixel 1"], NotReadyError)
    assert {device for device, _ in heard} == {"Pixel 8"}
    assert set(again.unfinished()) == set(campaigns.cells_on(again.campaign, 0))


def test_a_phone_with_another_program_is_not_the_same_device(bench, resume):
    keeper, _ = bench([Puppet("one", gone_at=0)])
    _, rest, _, _ = resume(keeper, [Puppet("one", runtime="strings 2")])
    assert rest.jobs == ()
    assert str(rest.by_device["one"]) == (
        "one runs models with strings 2 now, the campaign had strings 1: set it up as it was, or "
        "start a new campaign"
    )


def test_half_a_record_is_named_and_kept_and_not_measured_over(bench, resume):
    keeper, _ = bench([Puppet("one", gone_at=0)])
    half = store.record_path(keeper.folder, campaigns.record_id(keeper.campaign.id, 2))
    half.parent.mkdir()
    half.write_text('{"schema": "mnasnet.record/1", "id')
    again, _, heard, said = resume(keeper, [Puppet("one")])
    assert len(of(heard, "one", Finished)) == 3
    assert len(said) == 1
    assert "move it away" in said[0]
    half.unlink()
    _, _, heard, said = resume(again, [Puppet("one")])
    assert len(of(heard, "one", Finished)) == 1
    assert said == []


def test_the_newest_unfinished_campaign_is_chosen(bench):
    finished, _ = bench([Puppet("one")])
    folder = finished.folder
    bench([Puppet("one", gone_at=0)])
    newest, _ = bench([Puppet("one")])
    found = sorted(campaigns.load(folder).campaigns, key=lambda one: one.time)
    assert choose(found, folder, "").id == found[1].id
    assert choose(found, folder, newest.campaign.id).id == newest.campaign.id
    assert choose([found[0], found[2]], folder, "").id == found[2].id
    with pytest.raises(InputError, match="3 campaigns start so"):
        choose(found, folder, newest.campaign.id[:4])
    with pytest.raises(InputError, match="no such campaign"):
        choose(found, folder, "a.tflite")
    with pytest.raises(InputError, match="no campaign in"):
        choose([], folder, "")


# ---- on disk


def test_a_campaign_is_read_back_as_it_was(bench):
    keeper, _ = bench([Puppet("one"), Puppet("two", kind="software-phone")])
    assert campaigns.load(keeper.folder).campaigns == (keeper.campaign,)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"mnasnet.campaign/1"', '"mnasnet.campaign/9"', "is not 'mnasnet.campaign/1'"),
        ('"seed": 7', '"seed": "7"', "campaign.seed"),
        ('"seed": 7,', "", "seed"),
        ('"groups": [[0,', '"groups": [[9,', "do not hold each cell"),
        ('"device": 0', '"device": 1', "do not hold each cell"),
        ('"cells": [', '"cells": ', "not whole JSON"),
        ('"name": "one"', '"name": "\\u001b[31m"', "control characters"),
    ],
)
def test_a_file_that_is_no_campaign_is_named(bench, old, new, said):
    keeper, _ = bench([Puppet("one")])
    path = campaigns.campaign_folder(keeper.folder) / f"{keeper.campaign.id}.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    loaded = campaigns.load(keeper.folder)
    assert loaded.campaigns == ()
    assert said in loaded.problems[0].reason


def test_a_campaign_that_runs_is_not_gone_on_with(tmp_path, files, quick):
    campaign, _ = start(files, [ask(Puppet(), [quick])], seed=7)
    with Keeper(campaign=campaign, folder=tmp_path) as keeper:
        keeper.hold()
        with (
            Keeper(campaign=campaign, folder=tmp_path) as other,
            pytest.raises(InputError, match="running in another process"),
        ):
            other.hold()
    # Let go, it is free again and leaves nothing.
    with Keeper(campaign=campaign, folder=tmp_path) as keeper:
        keeper.hold()
    assert list((tmp_path / "campaigns").iterdir()) == []


def test_a_lock_of_a_killed_process_is_no_lock(tmp_path):
    (tmp_path / ".old.lock").touch()
    with holding(tmp_path / ".old.lock") as held:
        assert held


def test_a_folder_that_cannot_be_made_is_not_ready(tmp_path):
    (tmp_path / "results").write_text("a file")
    with (
        pytest.raises(NotReadyError, match="--results"),
        holding(tmp_path / "results" / "campaigns" / ".a.lock"),
    ):
        pass


def test_settings_that_settle_alike_are_measured_once(quick):
    class Blind(Puppet):
        def settle(self, settings):
            return replace(settings, threads=1)

    assert len(ask(Blind(), [quick, replace(quick, threads=2)]).settings) == 1


# ---- the command


@pytest.fixture
def command(tmp_path, monkeypatch, mnasnet, exported):
    """`command(devices, *arguments)` runs `mnasnet bench` on them, in a folder with two models."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(exported / "models", tmp_path / "models")

    def run(devices, *arguments):
        by_name = {device.name: device for device in devices}

        def opened(names, options, say):
            wanted = by_name if "adb:all" in names else names
            return [by_name[name] for name in wanted]

        monkeypatch.setattr("mnasnet_deploy.bench.devices.open_devices", opened)
        return mnasnet("bench", *arguments)

    return run


QUICK = ["--device", "one", "--device", "two", "--launches", "2", "--max-launches", "2"]


def test_lines_of_several_devices_name_theirs(command):
    run = command([Puppet("one"), Puppet("two")], *QUICK, "--seed", "3")
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["one", "one", "two", "two"]
    assert all(" ms [" in line for line in lines)
    assert "one: 2 measurements, takes " in run.err
    assert "two: the screen is kept on" in run.err


def test_a_lost_device_ends_in_three_and_the_command_that_goes_on(command):
    devices = [Puppet("one", kind="android", gone_at=1), Puppet("two", kind="android")]
    run = command(devices, *QUICK)
    assert run.code == 3
    assert "error: one is gone" in run.err
    assert len(run.out.splitlines()) == 2
    (campaign,) = campaigns.load(Path("results")).campaigns
    assert run.err.splitlines()[-1] == (
        f"2 of 4 measurements are still to be made: 'mnasnet bench --resume {campaign.id}'"
    )
    # Nobody has to name the phones again: they are known by what is attached.
    resumed = command([Puppet("one", kind="android"), Puppet("two", kind="android")], "--resume")
    assert resumed.code == 0, resumed.err
    assert campaigns.missing(campaign, Path("results")) == ()
    assert len(store.load(Path("results")).records) == 4


def test_resume_without_the_phone_ends_in_three(command):
    command([Puppet("one", kind="android", gone_at=0), Puppet("two", kind="android")], *QUICK)
    run = command([Puppet("two", kind="android")], "--resume", "--json")
    assert run.code == 3
    answer = json.loads(run.out)
    assert "one of the campaign is not attached" in answer["failed_devices"]["one"]
    assert answer["results"] == []


def test_a_plan_of_several_devices(command):
    devices = [Puppet("one"), Puppet("two")]
    plan = json.loads(command(devices, *QUICK, "--plan", "--json").out)
    assert [one["device"] for one in plan["devices"]] == ["one", "two"]
    assert len(plan["measurements"]) == 4
    # Both at once: the longest decides.
    assert plan["least_s"] == max(one["least_s"] for one in plan["devices"])
    text = command(devices, *QUICK, "--plan").out
    assert text.startswith("one: one (1 CPUs")
    assert not Path("results").exists()


def test_a_file_one_device_refuses_is_named_with_it(command, tiny_int8):
    run = command([Puppet("one", refuses=(tiny_int8.name,)), Puppet("two")], *QUICK, "--json")
    assert run.code == 1
    answer = json.loads(run.out)
    assert len(answer["results"]) == 3
    assert list(answer["failed"]) == [str(Path("models") / tiny_int8.name)]
    assert answer["unfinished"] == 0
    assert f"error: one: {tiny_int8.name} is refused" in run.err
