"""Finding adb, its server and the phones on it, with the real adb."""

import os
import socket
import subprocess
import threading

import pytest
from softphone.faults import Fault
from softphone.fixtures import need
from softphone.parts import system_adb
from softphone.rig import Rig
from softphone.stubs import FORBIDDEN_SERIAL, adb_without_permission, old_adb, other_server

from mnasnet_deploy.bench.adb import Listed, find_adb, read_devices
from mnasnet_deploy.bench.adb_server import ServerPlace, find_server, server_version
from mnasnet_deploy.bench.device_name import parse
from mnasnet_deploy.errors import InputError, LinkLostError, PhoneError

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def phone(module_rig):
    """A Pixel 8 that no test here harms."""
    return module_rig.phone("pixel-8")


@pytest.fixture
def adb(module_rig, use_rig, phone):
    use_rig(module_rig)
    return find_adb()


def links(adb, text):
    skipped = []
    return [link.serial for link in adb.links(parse(text), skipped.append)], skipped


# ---- the program


def test_the_program_is_named_else_in_the_environment_else_on_the_path(
    module_rig, use_rig, monkeypatch, tmp_path
):
    use_rig(module_rig)
    found = find_adb()
    assert (found.program, found.version) == (module_rig.adb_path, "36.0.0")
    beside = tmp_path / "my adb"
    beside.symlink_to(module_rig.adb_path)
    assert find_adb(str(beside)).program == beside
    monkeypatch.delenv("ADB")
    assert find_adb().program == module_rig.adb_path


def test_a_missing_adb_is_said_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.delenv("ADB", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(PhoneError, match="sudo apt-get install adb"):
        find_adb()
    with pytest.raises(InputError, match="--adb is nowhere/adb"):
        find_adb("nowhere/adb")
    monkeypatch.setenv("ADB", "elsewhere")
    with pytest.raises(InputError, match=r"\$ADB is elsewhere"):
        find_adb()


def test_an_adb_that_only_android_studio_knows_is_pointed_to(monkeypatch, tmp_path):
    monkeypatch.delenv("ADB", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    program = old_adb(tmp_path / "Android/Sdk/platform-tools")
    with pytest.raises(PhoneError, match=f"--adb {program}"):
        find_adb()


def test_an_adb_too_old_is_refused(tmp_path):
    with pytest.raises(PhoneError, match=r"too old \(1.0.31"):
        find_adb(str(old_adb(tmp_path)))


def test_a_program_that_is_no_adb_is_refused(tmp_path):
    with pytest.raises(PhoneError, match="is no adb"):
        find_adb("true")
    broken = tmp_path / "adb"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    with pytest.raises(PhoneError, match="cannot start"):
        find_adb(str(broken))


# ---- the server


def test_a_server_of_another_version_is_refused_and_lives_on(module_rig, use_rig, monkeypatch):
    use_rig(module_rig)
    with other_server() as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        with pytest.raises(PhoneError, match=r"version 40.*version 41 and would end it"):
            find_adb()
        assert server.asked == ["host:version"]


def test_a_server_that_changes_under_our_hands_is_noticed(module_rig, use_rig, monkeypatch):
    use_rig(module_rig)
    with other_server() as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        monkeypatch.setattr(server, "asked", [])
        adb = find_adb(server=("localhost", module_rig.port))
        object.__setattr__(adb, "server", find_server(os.environ, None))
        with pytest.raises(PhoneError, match="would end it"):
            adb.devices()
        assert server.asked == ["host:version"]


def test_looking_for_adb_starts_no_server(tmp_path, adb_home, use_rig):
    need("pip-adb")
    rig = Rig(tmp_path / "rig", home=adb_home)
    use_rig(rig)
    adb = find_adb()
    assert adb.server_version() is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", rig.port)).close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"FAIL0003no!"])
def test_what_is_no_adb_server_is_named(answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        place = ServerPlace(host="127.0.0.1", port=listener.getsockname()[1])
        with pytest.raises(PhoneError, match="is no adb server"):
            server_version(place)
        thread.join()


def test_a_local_socket_is_asked_too(tmp_path, monkeypatch, adb_home, use_rig):
    need("pip-adb")
    rig = Rig(tmp_path / "rig", home=adb_home)
    use_rig(rig)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADB_SERVER_SOCKET", "localfilesystem:s")
    assert find_adb().server_version() is None
    server = subprocess.Popen(
        [rig.adb_path, "-L", "localfilesystem:s", "server", "nodaemon"],
        env=dict(os.environ), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not (tmp_path / "s").exists():
            assert server.poll() is None
        adb = find_adb()
        assert adb.devices() == ()
        assert adb.server_version() == 41
    finally:
        server.terminate()
        server.wait()


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, "localhost:5037"),
        ({"ANDROID_ADB_SERVER_PORT": "5040"}, "localhost:5040"),
        ({"ANDROID_ADB_SERVER_ADDRESS": "pi", "ANDROID_ADB_SERVER_PORT": "5"}, "pi:5"),
        ({"ADB_SERVER_SOCKET": "tcp:5041", "ANDROID_ADB_SERVER_PORT": "5"}, "localhost:5041"),
        ({"ADB_SERVER_SOCKET": "tcp:[::1]:5041"}, "[::1]:5041"),
        ({"ADB_SERVER_SOCKET": "tcp:lab:5041"}, "lab:5041"),
        ({"ADB_SERVER_SOCKET": "localabstract:x"}, "@x"),
    ],
)
def test_the_server_is_where_adb_looks_for_it(environment, place):
    assert str(find_server(environment, None)) == place
    assert str(find_server(environment, ("farm", 7))) == "farm:7"


@pytest.mark.parametrize(
    "environment",
    [
        {"ANDROID_ADB_SERVER_PORT": "many"},
        {"ANDROID_ADB_SERVER_PORT": "70000"},
        {"ADB_SERVER_SOCKET": "vsock:3:5"},
        {"ADB_SERVER_SOCKET": "tcp:"},
    ],
)
def test_a_variable_that_names_no_server_is_refused(environment):
    with pytest.raises(InputError, match=next(iter(environment))):
        find_server(environment, None)


# ---- the list


def test_every_line_of_a_list_is_read():
    reason = (
        "no permissions (user in plugdev group; are your udev rules wrong?); "
        "see [http://developer.android.com/tools/device.html]"
    )
    text = (
        "* daemon not running; starting now at tcp:5037\n* daemon started successfully\n"
        "List of devices attached\n"
        "0A021FDD4000XX         device usb:1-1 product:shiba model:Pixel_8 device:shiba "
        "transport_id:1\n"
        f"0A021FDD4000YY         {reason} usb:1-2 transport_id:2\r\n"
        "192.168.1.5:5555       offline transport_id:3\n"
        "emulator-5554          unauthorized\n"
        "(no serial number)     device transport_id:x\n"
        "B                      no permissions; see [http://x] transport_id:9\n"
        "\n"
    )
    listed = read_devices(text)
    assert [(one.serial, one.state, one.transport_id) for one in listed] == [
        ("0A021FDD4000XX", "device", 1),
        ("0A021FDD4000YY", "no permissions", 2),
        ("192.168.1.5:5555", "offline", 3),
        ("emulator-5554", "unauthorized", None),
        ("(no serial number)", "device", None),
        ("B", "no permissions", 9),
    ]
    assert (listed[0].model, listed[0].product) == ("Pixel_8", "shiba")
    assert "udev rules wrong?" in listed[1].detail
    assert read_devices("error: something") is None


def test_the_phone_is_listed(adb, phone):
    assert adb.devices() == (
        Listed(
            serial=phone.serial, state="device", model="Pixel_8", product="shiba",
            transport_id=adb.devices()[0].transport_id,
        ),
    )  # fmt: skip
    assert adb.link(phone.serial).transport_id() == adb.devices()[0].transport_id


def test_the_only_phone_needs_no_name(adb, phone):
    assert links(adb, "adb") == ([phone.serial], [])
    assert links(adb, "adb:all") == ([phone.serial], [])


def test_a_wrong_serial_is_an_error_that_lists_the_right_ones(adb, phone):
    with pytest.raises(PhoneError, match=rf"no phone WRONG is attached \({phone.serial}\)"):
        links(adb, "adb:WRONG")


def test_a_server_can_be_named(phone, module_rig, use_rig, monkeypatch):
    use_rig(module_rig)
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT")
    name = parse(f"adb:{phone.serial}@localhost:{module_rig.port}")
    adb = find_adb(server=name.server)
    (link,) = adb.links(name, pytest.fail)
    assert link.shell("echo here").out == b"here\n"


def test_no_phone_is_an_error_that_says_what_to_do(phone_rig, use_rig):
    use_rig(phone_rig)
    for text in ("adb", "adb:all"):
        with pytest.raises(PhoneError, match="no phone is attached: plug one in"):
            links(find_adb(), text)
    with pytest.raises(PhoneError, match=r"no phone X is attached \(none is\)"):
        links(find_adb(), "adb:X")


def test_two_phones_without_a_name_are_an_error_that_lists_them(phone_rig, use_rig, monkeypatch):
    use_rig(phone_rig)
    first, second = phone_rig.phone("pixel-1"), phone_rig.phone("pixel-8", link="tcp")
    adb = find_adb()
    with pytest.raises(PhoneError, match="2 phones are attached") as caught:
        links(adb, "adb")
    assert first.serial in str(caught.value)
    assert second.serial in str(caught.value)
    assert sorted(links(adb, "adb:all")[0]) == sorted([first.serial, second.serial])
    monkeypatch.setenv("ANDROID_SERIAL", second.serial)
    assert links(adb, "adb")[0] == [second.serial]


@pytest.mark.parametrize(
    ("state", "said", "kind"),
    [
        ("unauthorized", "tap Allow", PhoneError),
        ("offline", "does not talk to adb", LinkLostError),
        ("authorizing", "checking this computer's key", LinkLostError),
    ],
)
def test_a_phone_that_is_not_ready_says_how_to_mend_it(phone_rig, use_rig, state, said, kind):
    use_rig(phone_rig)
    good = phone_rig.phone("pixel-1")
    bad = phone_rig.phone("pixel-8", wait=False, rules=[Fault(on="cnxn", do=state, times=None)])
    phone_rig.wait_for_state(bad, state)
    adb = find_adb()
    with pytest.raises(PhoneError, match=said) as caught:
        adb.link(bad.serial, patience_s=0.3)
    assert type(caught.value) is kind
    if kind is PhoneError:
        serials, skipped = links(adb, "adb:all")
        assert serials == [good.serial]
        assert said in skipped[0]
    bad.set_rules()  # Allow is pressed
    if kind is PhoneError:
        phone_rig.wait_for_state(bad)
    assert adb.link(bad.serial).shell("echo in").out == b"in\n"


def test_a_phone_the_user_may_not_open_says_which_group_to_join(adb, module_rig, tmp_path):
    stub = find_adb(str(adb_without_permission(tmp_path / "bin", module_rig.adb_path)))
    assert [one.state for one in stub.devices()] == ["device", "no permissions"]
    with pytest.raises(PhoneError, match="plugdev"):
        stub.link(FORBIDDEN_SERIAL)
    serials, skipped = links(stub, "adb:all")
    assert len(serials) == len(skipped) == 1


@pytest.mark.long
def test_the_adb_of_debian_lists_and_refuses_the_same(tmp_path, use_rig):
    need("system-adb", "namespaces")
    with Rig(tmp_path / "rig", adb=system_adb()) as rig:
        use_rig(rig)
        good = rig.phone("pixel-8")
        bad = rig.phone(
            "pixel-1", wait=False, rules=[Fault(on="cnxn", do="unauthorized", times=None)]
        )
        rig.wait_for_state(bad, "unauthorized")
        adb = find_adb()
        assert adb.version.startswith("29.")
        serials, skipped = links(adb, "adb:all")
        assert serials == [good.serial]
        assert "tap Allow" in skipped[0]
        with other_server() as server, pytest.raises(PhoneError, match="would end it"):
            find_adb(server=("127.0.0.1", server.port))
        assert server.asked == ["host:version"]
