"""Several devices at once, on devices that do what a test says: trouble stays where it is."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from mnasnet_deploy.bench import fleet
from mnasnet_deploy.bench.campaign import Failure, Launched, Trying
from mnasnet_deploy.bench.device import Device
from mnasnet_deploy.bench.fleet import Finished, Left, Ready, Said
from mnasnet_deploy.bench.keeper import Keeper
from mnasnet_deploy.bench.start import ask, start
from mnasnet_deploy.errors import MnasnetError
from mnasnet_deploy.results import campaigns, store

from .puppet import PATIENCE_S, Puppet, ids, of


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
