"""How a device is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.bench.device_name import DeviceName, parse
from mnasnet_deploy.errors import InputError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("host", DeviceName(kind="host")),
        ("adb", DeviceName(kind="adb")),
        ("adb:all", DeviceName(kind="adb", everything=True)),
        ("adb:0A021FDD4000XX", DeviceName(kind="adb", serial="0A021FDD4000XX")),
        ("adb:emulator-5554", DeviceName(kind="adb", serial="emulator-5554")),
        ("adb:192.168.1.5:5555", DeviceName(kind="adb", serial="192.168.1.5:5555")),
        ("adb:[fe80::1]:5555", DeviceName(kind="adb", serial="[fe80::1]:5555")),
        (
            "adb:adb-0A02-x1._adb-tls-connect._tcp",
            DeviceName(kind="adb", serial="adb-0A02-x1._adb-tls-connect._tcp"),
        ),
        (
            "adb:0A02@lab.local:5037",
            DeviceName(kind="adb", serial="0A02", server=("lab.local", 5037)),
        ),
        (
            "adb:1.2.3.4:5555@[::1]:5038",
            DeviceName(kind="adb", serial="1.2.3.4:5555", server=("::1", 5038)),
        ),
        (
            "adb:all@10.0.0.2:5037",
            DeviceName(kind="adb", everything=True, server=("10.0.0.2", 5037)),
        ),
    ],
)
def test_a_name_is_read_and_written_back(text, name):
    assert parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "pixel", "Host", "adb:", "usb:1", "adb@", "adb:A@", "adb:A@host", "adb:A@host:0",
        "adb:A@host:65536", "adb:A@host:port", "adb:A@-H:5037", "adb:A@b:1@c:2",
        "adb:$(reboot)", "adb:A;reboot", "adb:a b", "adb:`id`", "adb:A|cat", "adb:A&", "adb:'A'",
        "adb:A\nB", "adb:-s", "adb:A>x", "adb:../x", "adb:*", "adb:é",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(text):
    with pytest.raises(InputError):
        parse(text)


@given(st.text(max_size=20))
def test_no_serial_means_anything_to_a_shell(text):
    try:
        serial = parse(f"adb:{text}").serial
    except InputError:
        return
    assert not set(serial) & set(" \t\r\n'\"`$&|;<>(){}*?!#~\\/=^%")
    assert not serial.startswith("-")
