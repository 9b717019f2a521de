"""A campaign that ended early is gone on with, from its plan on the disk."""

import contextlib
from dataclasses import replace

import pytest

from mnasnet_deploy.bench import fleet
from mnasnet_deploy.bench.fleet import Finished
from mnasnet_deploy.bench.keeper import Keeper
from mnasnet_deploy.bench.start import Remaining, ask, choose, find_models, go_on, start
from mnasnet_deploy.bench.system import holding
from mnasnet_deploy.errors import InputError, NotReadyError
from mnasnet_deploy.results import campaigns, store

from .puppet import Puppet, ids, of


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
