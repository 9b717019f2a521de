"""Whatever is wrong with a file of weights: one line, exit 2 or 3, and nothing written."""

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mnasnet_deploy.arch.network import Network, build_network
from mnasnet_deploy.arch.variants import find_variant

from .bundles import EMA, official_names, tiny, trained, write_bundle
from .torches import as_tensors, state_dict, write_pth

NETWORK = tiny()


def names(network: Network = NETWORK) -> dict[str, np.ndarray]:
    return official_names(network, trained(network).tensors, suffix=EMA)


def timm(network: Network = NETWORK) -> dict[str, np.ndarray]:
    return state_dict(network, trained(network).tensors, "timm")


def saved_model(folder: Path) -> Path:
    write_bundle(folder / "net" / "saved_model" / "variables" / "variables", names())
    (folder / "net" / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    return folder / "net"


def packed(folder: Path, *evil: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(folder / "net.tgz", "w:gz") as tar:
        tar.add(saved_model(folder), "net")
        for member, content in evil:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return folder / "net.tgz"


def truncated_archive(folder: Path) -> Path:
    path = packed(folder)
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def traversal(folder: Path) -> Path:
    return packed(folder, (tarfile.TarInfo("../../evil"), b"evil"))


def symlink(folder: Path) -> Path:
    member = tarfile.TarInfo("net/passwd")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return packed(folder, (member, b""))


def bomb(folder: Path) -> Path:
    """10 GB of zeros in 10 MB, each GB a gzip member of its own."""
    member = tarfile.TarInfo("net/zeros")
    member.size = 10 * 10**9
    piece = gzip.compress(bytes(10**7), 9) * 100
    with (folder / "net.tgz").open("wb") as file:
        file.write(gzip.compress(member.tobuf()))
        for _ in range(10):
            file.write(piece)
    return folder / "net.tgz"


def mobilenet(folder: Path) -> Path:
    stored = {
        "MobilenetV2/Conv/weights": np.zeros((3, 3, 3, 32), np.float32),
        "MobilenetV2/Logits/Conv2d_1c_1x1/biases": np.zeros(1001, np.float32),
    }
    return write_bundle(folder / "model.ckpt-1", stored)


def mobilenet_of_timm(folder: Path) -> Path:
    network = build_network(find_variant("mobilenet-v2").spec, multiplier=1.0, classes=10)
    return write_pth(folder / "mobilenetv2_100.pth", as_tensors(timm(network)))


def another_multiplier(folder: Path) -> Path:
    return write_bundle(folder / "model.ckpt-1", names(tiny(multiplier=0.5)))


def with_background(folder: Path) -> Path:
    return write_bundle(folder / "model.ckpt-1", names(tiny(classes=1001)))


def without_a_shard(folder: Path) -> Path:
    prefix = write_bundle(folder / "model.ckpt-1", names(), shards=3)
    prefix.with_name("model.ckpt-1.data-00001-of-00003").unlink()
    return prefix


def truncated_shard(folder: Path) -> Path:
    write_bundle(folder / "model.ckpt-1", names())
    data = folder / "model.ckpt-1.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:10_000])
    return folder


def absolute_and_gone(folder: Path) -> Path:
    for step in (1, 2):
        write_bundle(folder / "net" / f"model.ckpt-{step}", names())
    path = folder / "somewhere" / "model.ckpt-3"
    (folder / "net" / "checkpoint").write_text(f'model_checkpoint_path: "{path}"\n')
    return folder / "net"


class _Call:
    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call[0], self.call[1:]


def code(folder: Path) -> Path:
    content = as_tensors(timm())
    content["evil"] = _Call(os.mkdir, str(folder / "ran"))  # type: ignore[assignment]
    return write_pth(folder / "net.pth", content)


def nested_code(folder: Path) -> Path:
    content = as_tensors(timm())
    inner = pickle.dumps(_Call(os.mkdir, str(folder / "ran")))
    content["evil"] = _Call(pickle.loads, inner)  # type: ignore[assignment]
    return write_pth(folder / "net.pth", {"state_dict": content, "epoch": 3})


def zip_bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "net.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as file:
            for _ in range(300):
                file.write(bytes(10**6))
        archive.writestr("archive/version", "3")
    return folder / "net.pth"


def lying_header(folder: Path) -> Path:
    save_file(timm(), folder / "whole.safetensors")
    content = (folder / "whole.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["conv_stem.weight"]["shape"] = [2**31, 2**31]
    text = json.dumps(header).encode()
    path = folder / "net.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    return path


def huge_header(folder: Path) -> Path:
    path = folder / "net.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b'{"a": 1}')
    return path


def not_a_number(folder: Path) -> Path:
    named = timm()
    named["bn1.running_mean"] = np.full_like(named["bn1.running_mean"], np.nan)
    save_file(named, folder / "net.safetensors")
    return folder / "net.safetensors"


def a_variance_below_zero(folder: Path) -> Path:
    named = timm()
    named["bn1.running_var"] = -named["bn1.running_var"]
    save_file(named, folder / "net.safetensors")
    return folder / "net.safetensors"


def unreadable_type(folder: Path) -> Path:
    named = timm()
    named["conv_stem.weight"] = named["conv_stem.weight"].astype(np.int32)
    save_file(named, folder / "net.safetensors")
    return folder / "net.safetensors"


CASES: dict[Callable[[Path], Path], str] = {
    truncated_archive: "net.tgz is truncated",
    traversal: "'../../evil' leads out of its folder",
    symlink: "'net/passwd' is a link",
    bomb: "more than 1024 MiB",
    mobilenet: "no checkpoint of MnasNet: it holds MobilenetV2/Conv/weights",
    mobilenet_of_timm: "is of mobilenet-v2 1.0 with 10 classes",
    another_multiplier: "use --multiplier 0.5",
    with_background: "--classes 1001; with 1001 classes the first is usually a background",
    without_a_shard: "lacks model.ckpt-1.data-00001-of-00003",
    truncated_shard: "more: model.ckpt-1.data-00000-of-00001 is truncated",
    absolute_and_gone: "names model.ckpt-3, of which there is no .index beside it",
    code: "names posix.mkdir" if os.name == "posix" else "names nt.mkdir",
    nested_code: "pickle.loads",
    zip_bomb: "compressed",
    lying_header: "not a readable safetensors file",
    huge_header: "not a readable safetensors file",
    not_a_number: "stem.bn.mean holds NaN or infinite values",
    a_variance_below_zero: "stem.bn.variance",
    unreadable_type: "conv_stem.weight: elements of type int32",
}


@pytest.mark.slow
@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_bad_weights_are_one_line_and_nothing_is_written(
    make: Callable[[Path], Path],
    mnasnet: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, here, temporary = (tmp_path / name for name in ("given", "here", "temporary"))
    for folder in (given, here, temporary):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    path = make(given)
    before = sorted(given.rglob("*"))
    network = ("--variant", "a1", "--multiplier", "0.35", "--classes", "10")
    for arguments in (
        ("export", "--weights", path, "--res", "64", *network),
        ("weights", "convert", path, "out.safetensors", *network),
        ("weights", "check", path, *network),
    ):
        run = mnasnet(*arguments)
        assert run.code in (2, 3), (arguments, run.err)
        assert run.err.count("\n") == 1, run.err
        assert run.err.startswith("error: ")
        if arguments[0] == "export":
            assert CASES[make] in run.err
            assert len(run.err) < 1200
    assert list(here.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert sorted(given.rglob("*")) == before  # code would have made a folder


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_in_safetensors_are_converted_and_said(
    mnasnet: Callable, tmp_path: Path, dtype: str
) -> None:
    named = {n: v.astype(dtype) if v.dtype == np.float32 else v for n, v in timm().items()}
    save_file(named, tmp_path / "net.safetensors")
    run = mnasnet("weights", "convert", tmp_path / "net.safetensors", tmp_path / "own.safetensors")
    assert run.code == 0
    assert f"{dtype} tensors were converted to float32" in run.err


@pytest.mark.slow
def test_bfloat16_in_safetensors_is_converted_and_said(mnasnet: Callable, tmp_path: Path) -> None:
    """numpy has no such type, so the file is put together by hand."""
    header, content = {}, b""
    for name, values in timm().items():
        upper = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        place = [len(content), len(content) + len(upper)]
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": place}
        content += upper
    text = json.dumps(header).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    run = mnasnet("weights", "show", path)
    assert run.code == 0, run.err
    assert "bfloat16 tensors were converted to float32" in run.out
