"""Models and programs on a phone: whole or not there, pushed once, tidied up."""

import hashlib
import os
import threading
import time

import pytest
from softphone.faults import Fault

from mnasnet_deploy.bench.adb import find_adb
from mnasnet_deploy.bench.adb_link import FOLDER
from mnasnet_deploy.bench.phone_files import PhoneFiles, Wanted
from mnasnet_deploy.errors import InputError, LinkLostError, PhoneError

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def phone(module_rig):
    """A Pixel 8 whose folder every test finds empty."""
    return module_rig.phone("pixel-8")


@pytest.fixture
def link(module_rig, use_rig, phone):
    use_rig(module_rig)
    module_rig.wait_for_state(phone)
    link = find_adb().link(phone.serial)
    link.shell(f"rm -rf {FOLDER}")
    yield link
    phone.set_rules()


@pytest.fixture
def files(link):
    return PhoneFiles(link)


@pytest.fixture
def make(tmp_path):
    """`make("a", 1000)`: a file of so many random bytes, as it is wanted."""

    def make(name, size=1000, **options):
        path = tmp_path / name
        path.write_bytes(os.urandom(size))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return Wanted(local=path, sha256=sha256, name=name, **options)

    return make


def there(link):
    """All that is in the tool's folder, folders left out."""
    return sorted(link.shell(f"cd {FOLDER} && find . -type f").text.split())


def test_a_file_is_pushed_once_and_found_by_its_content(files, link, make):
    one, other = make("a.tflite"), make("b b's.tflite", 300_000)
    pushed = []
    remote = files.ensure_all([one, other, one], pushed.append)
    assert remote == (one.remote, other.remote, one.remote)
    assert pushed == [one, other]
    assert remote[1].endswith(f"/files/{other.sha256[:16]}/b_b_s.tflite")
    found = link.shell(f"sha256sum {' '.join(remote[:2])}").text.split()
    assert found[::2] == [one.sha256, other.sha256]
    assert files.ensure_all([other, one], pytest.fail) == (other.remote, one.remote)
    assert len(there(link)) == 2


def test_one_round_trip_says_that_all_is_there(files, link, make):
    wanted = [make(f"{i}.tflite", 10) for i in range(30)]
    files.ensure_all(wanted)
    calls = []
    shell = link.shell
    link.shell = lambda *args, **options: calls.append(args) or shell(*args, **options)
    files.ensure_all(wanted)
    assert len(calls) == 1


def test_a_program_may_be_run(files, link, make, module_rig):
    binary = module_rig.benchmark_binary()
    sha256 = hashlib.sha256(binary.read_bytes()).hexdigest()
    remote = files.ensure(binary, sha256, "benchmark_model", executable=True)
    assert link.shell(f"ls -l {remote}").text.startswith("-rwxr-xr-x")
    assert link.shell(f"{remote} --help").code != 126


@pytest.mark.parametrize("rule", [
    Fault(on="open", match="sync", do="drop"),
    Fault(on="push", after=1_000_000, do="drop"),
    Fault(on="pushed", do="drop"),
    Fault(on="shell", match="sha256sum", do="drop"),
], ids=["before", "during", "after", "check"])  # fmt: skip
def test_a_push_that_is_cut_off_leaves_no_file_with_a_name(files, link, phone, make, rule):
    one = make("a.tflite", 3_000_000)
    phone.set_rules(rule)
    with pytest.raises(LinkLostError):
        files.ensure_all([one])
    link.wait_back()
    assert not [name for name in there(link) if not name.endswith(".part")]
    files.sweep()
    assert there(link) == []
    files.ensure_all([one])
    assert link.shell(f"sha256sum {one.remote}").text.split()[0] == one.sha256


@pytest.fixture
def instead_of_sha256sum(link, monkeypatch):
    """The phone's `sha256sum` is another program."""

    def replace(body):
        there = f"{FOLDER}/bin"
        link.shell(f"mkdir -p {there}; cd {there}; echo '{body}' > sha256sum; chmod 755 sha256sum")
        shell = link.shell
        monkeypatch.setattr(link, "shell", lambda s, **o: shell(f"PATH={there}:$PATH; {s}", **o))

    return replace


def test_a_file_that_arrives_damaged_gets_no_name(files, link, make, instead_of_sha256sum):
    instead_of_sha256sum("echo 0123 x")
    with pytest.raises(PhoneError, match="arrives damaged"):
        files.ensure_all([make("a.tflite")])
    assert there(link) == ["./bin/sha256sum"]


def test_a_phone_without_sha256sum_checks_too(files, link, make, instead_of_sha256sum):
    instead_of_sha256sum("exit 127")
    one = make("a.tflite")
    files.ensure_all([one])
    assert there(link) == ["./bin/sha256sum", f"./files/{one.key}"]


def test_a_file_that_is_not_what_it_is_said_to_be_is_refused(files, make, link, tmp_path):
    one = make("a.tflite")
    one.local.write_bytes(b"other")
    with pytest.raises(InputError, match="was changed while it was used"):
        files.ensure_all([one])
    one.local.unlink()
    with pytest.raises(InputError, match="cannot read"):
        files.ensure_all([one])
    assert there(link) == []


def test_what_was_not_used_for_longest_goes_when_the_cap_is_reached(link, make):
    files = PhoneFiles(link, cap_bytes=2500)
    old, used, new, more = make("old"), make("used"), make("new"), make("more")
    files.ensure_all([old, used])
    link.shell(
        f"touch -d 2020-01-02T00:00:00 {old.remote}; touch -d 2020-01-01T00:00:00 {used.remote}"
    )
    files.ensure_all([used])
    files.ensure_all([new])
    assert there(link) == sorted(f"./files/{one.key}" for one in (used, new))
    # What is wanted now stays, however much it is.
    files.ensure_all([used, new, more])
    assert there(link) == sorted(f"./files/{one.key}" for one in (used, new, more))


def test_old_files_go_before_the_disk_is_full(module_rig, use_rig, make):
    use_rig(module_rig)
    small = module_rig.phone("pixel-1", tmp_size="5m")
    files = PhoneFiles(find_adb().link(small.serial))
    for index in range(3):
        files.ensure_all([make(f"{index}", 3_000_000)])
    with pytest.raises(PhoneError, match="storage is full"):
        files.ensure_all([make("big", 6_000_000)])
    files.ensure_all([make("last", 4_000_000)])
    small.stop()


@pytest.mark.parametrize(
    ("flags", "executable", "said"),
    [("ro", False, "read-only"), ("noexec", True, "starts no program from that folder")],
)
def test_a_folder_that_will_not_do_is_named(module_rig, use_rig, make, flags, executable, said):
    use_rig(module_rig)
    odd = module_rig.phone("pixel-1", tmp_flags=flags)
    link = find_adb().link(odd.serial)
    with pytest.raises(PhoneError, match=said):
        PhoneFiles(link).ensure_all([make("f", executable=executable)])
    if flags == "ro":
        with pytest.raises(PhoneError, match=said):
            PhoneFiles(link).sweep()
    else:
        assert there(link) == []
    odd.stop()


def test_programs_and_files_that_a_killed_run_left_are_swept_away(files, link, make):
    program = make("loop", executable=True)
    program.local.write_text("#!/system/bin/sh\nwhile :; do sleep 0.05; done\n")
    sha256 = hashlib.sha256(program.local.read_bytes()).hexdigest()
    remote = files.ensure(program.local, sha256, "loop", executable=True)
    files.sweep()
    ended = []

    def run():
        try:
            link.shell(f"echo out > {files.scratch('out')}; taskset f0 {remote} --x")
        except LinkLostError:
            ended.append(True)

    other = find_adb().link(link.serial)

    def runs():
        return any(
            line.endswith("/loop --x") for line in other.shell("ps -A -o ARGS").text.splitlines()
        )

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + 10
    while not runs():
        assert time.monotonic() < end
    other.shell(f"touch {FOLDER}/files/{sha256[:16]}/.0011.part {FOLDER}/script.77")
    PhoneFiles(other).sweep()
    assert not runs()
    thread.join(10)
    assert ended == [True]
    assert there(other) == [f"./files/{sha256[:16]}/loop"]


def test_cleaning_takes_everything_but_what_undoes_settings(files, link, make):
    files.sweep()
    files.ensure_all([make("a", 1000), make("b", 234)])
    assert files.clean() == 1234
    assert link.shell(f"ls -d {FOLDER}").code != 0
    assert files.clean() == 0
    files.ensure_all([make("a")])
    link.shell(f"echo 'settings put ...' > {FOLDER}/restore.sh")
    files.clean()
    assert there(link) == ["./restore.sh"]
