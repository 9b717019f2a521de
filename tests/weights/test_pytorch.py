"""State dicts of timm and torchvision, and pickles that want more than to hold tensors."""

import argparse
import contextlib
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights import pickled
from mnasnet_deploy.weights.choice import load_weights
from mnasnet_deploy.weights.opening import open_weights
from mnasnet_deploy.weights.pickled import read_pth
from mnasnet_deploy.weights.source import Preprocessing

from .bundles import tiny, trained
from .torches import Tensor, as_tensors, state_dict, write_pth

CASES = [("timm", "a1"), ("timm", "b1"), ("timm", "small"), ("torchvision", "b1")]


def assert_same(found: dict, wanted: dict) -> None:
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        assert (found[name] == values).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize(("family", "variant"), CASES)
def test_names_and_layouts_become_canonical(
    tmp_path: Path, family: str, variant: str, form: str
) -> None:
    network = tiny(variant)
    weights = trained(network)
    named = state_dict(network, weights.tensors, family)
    path = tmp_path / "weights.bin"
    if form == "safetensors":
        save_file(named, path)
    else:
        write_pth(path, as_tensors(named), legacy=form == "legacy")
    loaded = load_weights(str(path), network)
    assert_same(dict(loaded.tensors), dict(weights.tensors))
    source = loaded.source
    assert (source.family, source.padding, source.residual) == (family, "symmetric", "real")
    assert source.batch_norm_epsilon == 1e-5
    bicubic = Preprocessing(interpolation="bicubic", crop=(7, 8))
    bilinear = Preprocessing(interpolation="bilinear", crop=(224, 256))
    assert source.preprocessing == (bicubic if family == "timm" else bilinear)


@pytest.mark.slow
@pytest.mark.parametrize(("multiplier", "whole"), [(0.5, 256), (0.75, 232), (1.0, 256), (1.3, 232)])
def test_torchvisions_newer_recipe_has_another_crop(
    tmp_path: Path, multiplier: float, whole: int
) -> None:
    network = tiny("b1", multiplier=multiplier)
    named = state_dict(network, trained(network).tensors, "torchvision")
    source = open_weights(write_pth(tmp_path / "a.pth", as_tensors(named))).source
    assert source.preprocessing.crop == (224, whole)


def test_a_trainers_file_gives_its_averages_without_module(tmp_path: Path) -> None:
    network = tiny()
    raw, average = (state_dict(network, trained(network, seed).tensors, "timm") for seed in (1, 2))
    content = {
        "epoch": 3,
        "arch": "semnasnet_100",
        "metric": 75.2,
        "args": argparse.Namespace(lr=0.1, mean=(0.5, 0.5), data_dir="/somewhere", amp=True),
        "state_dict": as_tensors({f"module.{name}": v for name, v in raw.items()}),
        "state_dict_ema": as_tensors({f"module.{name}": v for name, v in average.items()}),
        "optimizer": {"state": {0: {"square_avg": Tensor(np.ones(3, np.float32))}}, "groups": []},
    }
    path = write_pth(tmp_path / "checkpoint-3.pth.tar", content)
    loaded = load_weights(str(path), network)
    assert loaded.source.averaged is True
    assert_same(dict(loaded.tensors), dict(trained(network, 2).tensors))
    loaded = load_weights(str(path), network, averaged=False)
    assert loaded.source.averaged is False
    assert_same(dict(loaded.tensors), dict(trained(network, 1).tensors))


def test_parameters_views_and_strides_are_read_as_they_are_meant(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    content = OrderedDict(
        whole=Tensor(base),
        turned=Tensor(base.T),
        parameter=Tensor(base, parameter=True),
        scalar=Tensor(np.array(3.0, np.float32)),
        none=Tensor(np.zeros((0, 5), np.float32)),
    )
    tensors, averaged = read_pth(write_pth(tmp_path / "a.pth", content))
    assert averaged is None
    assert (tensors["whole"].float32() == base).all()
    assert (tensors["turned"].float32() == base.T).all()
    assert (tensors["parameter"].float32() == base).all()
    assert tensors["scalar"].float32() == 3.0
    assert tensors["none"].float32().shape == (0, 5)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_floats_are_converted_and_said(tmp_path: Path, dtype: str) -> None:
    network = tiny()
    named = state_dict(network, trained(network).tensors, "timm")
    if dtype == "bfloat16":
        stored = {
            n: (v.view(np.uint32) >> 16).astype(np.uint16) if v.dtype == np.float32 else v
            for n, v in named.items()
        }
    else:
        stored = {n: v.astype(dtype) if v.dtype == np.float32 else v for n, v in named.items()}
    path = write_pth(tmp_path / "a.pth", as_tensors(stored))
    loaded = load_weights(str(path), network)
    assert f"{dtype} tensors were converted to float32" in loaded.source.notes[0]
    for name, values in trained(network).tensors.items():
        np.testing.assert_allclose(loaded.tensors[name], values, rtol=8e-3, atol=1e-4)


def test_values_beyond_float32_are_listed(tmp_path: Path) -> None:
    network = tiny()
    named = state_dict(network, trained(network).tensors, "timm")
    named["conv_stem.weight"] = named["conv_stem.weight"].astype(np.float64) * 1e300
    named["classifier.bias"] = np.full(10, np.nan, np.float32)
    path = write_pth(tmp_path / "a.pth", as_tensors(named))
    with pytest.raises(WeightsError) as raised:
        load_weights(str(path), network)
    for name in ("stem.kernel", "classifier.bias"):
        assert f"{name} holds NaN or infinite values" in str(raised.value)


def test_unused_and_unfilled_tensors_are_all_listed(tmp_path: Path) -> None:
    network = tiny()
    named = state_dict(network, trained(network).tensors, "timm")
    del named["blocks.2.0.se.conv_reduce.weight"], named["bn1.running_var"]
    named["blocks.0.0.extra.weight"] = np.ones(3, np.float32)
    named["aux.bias"] = np.ones(3, np.float32)
    path = write_pth(tmp_path / "a.pth", as_tensors(named))
    with pytest.raises(WeightsError) as raised:
        load_weights(str(path), network)
    for part in (
        "blocks.0.0.extra.weight", "aux.bias", "blocks.3.se.reduce.kernel", "stem.bn.variance",
    ):  # fmt: skip
        assert part in str(raised.value)


@pytest.mark.parametrize("multiplier", [0.5, 0.75, 1.3])
def test_torchvisions_first_format_is_refused_by_name(tmp_path: Path, multiplier: float) -> None:
    spec = VARIANTS["b1"].spec
    half = build_network(spec, multiplier=multiplier, resolution=64, classes=10)
    unscaled = replace(spec, stem_scaled=False)
    first = build_network(unscaled, multiplier=multiplier, resolution=64, classes=10)
    tensors = dict(trained(half).tensors)
    tensors |= {n: v for n, v in trained(first).tensors.items() if n.startswith("stem")}
    tensors["blocks.0.project.kernel"] = np.ones((1, 1, 32, 16), np.float32)
    named = state_dict(half, tensors, "torchvision")
    path = write_pth(tmp_path / "a.pth", as_tensors(named))
    with pytest.raises(WeightsError, match="first format"):
        load_weights(str(path), half)


@pytest.mark.parametrize("multiplier", [0.85, 0.9, 1.0])
def test_torchvisions_second_format_is_never_taken_for_the_first(
    tmp_path: Path, multiplier: float
) -> None:
    """At these multipliers stem and first block have their usual widths."""
    network = build_network(VARIANTS["b1"].spec, multiplier=multiplier, resolution=64, classes=10)
    tensors = trained(network).tensors
    assert tensors["stem.kernel"].shape[-1] == 32
    named = state_dict(network, tensors, "torchvision")
    load_weights(str(write_pth(tmp_path / "a.pth", as_tensors(named))), network)


def test_a_folder_of_the_hub_brings_its_config(tmp_path: Path) -> None:
    network = tiny()
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file(state_dict(network, trained(network).tensors, "timm"), folder / "model.safetensors")
    config = {
        "architecture": "semnasnet_100",
        "pretrained_cfg": {
            "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "crop_pct": 0.95,
            "interpolation": "bilinear", "license": "apache-2.0",
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    source = open_weights(folder).source
    assert source.mean == (127.5, 127.5, 127.5)
    assert source.std == (63.75, 63.75, 63.75)
    assert source.licence == "apache-2.0"
    assert source.preprocessing == Preprocessing(interpolation="bilinear", crop=(19, 20))
    named = replace(open_weights(folder / "model.safetensors").source, label=source.label)
    assert named == source, "the file itself was named"
    adapted = source.adapt(network)
    assert (adapted.mean, adapted.std) == (source.mean, source.std)
    for broken in ("{", "[]", '{"interpolation": "lanczos"}', '{"std": [0, 1, 1]}', "[" * 10**5):
        (folder / "config.json").write_text(broken)
        with pytest.raises(WeightsError, match=r"config\.json"):
            open_weights(folder)


# ---- files that want more


class _Code:
    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.reduced


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as raised:
        read_pth(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_refused_by_its_name_and_not_run(tmp_path: Path, legacy: bool) -> None:
    mark = tmp_path / "ran"
    content = as_tensors({"a": np.ones(2, np.float32)})
    content["evil"] = _Code(os.system, f"touch {mark}")  # type: ignore[assignment]
    text = refused(write_pth(tmp_path / "a.pth", content, legacy=legacy))
    assert f"names {os.system.__module__}.system" in text
    assert not mark.exists()


@pytest.mark.parametrize(
    "evil",
    [
        _Code(eval, "1+1"),
        _Code(pickle.loads, pickle.dumps(_Code(eval, "1"))),
        _Code(getattr, OrderedDict, "__init__"),
        np.float32(3.0),
        Path("/etc/passwd"),
        {1, 2},
    ],
    ids=["eval", "nested", "getattr", "numpy", "path", "set"],
)
def test_whatever_is_no_tensor_is_refused(tmp_path: Path, evil: object) -> None:
    content = as_tensors({"a": np.ones(2, np.float32)})
    content["evil"] = evil  # type: ignore[assignment]
    text = refused(write_pth(tmp_path / "a.pth", content))
    assert "only tensors are let in" in text or "does more than hold tensors" in text


PICKLES = {
    "a name from the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "an instance": b"(ios\nsystem\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a huge byte array": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".",
    "a leaping memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a changed name": (
        b"\x80\x02ctorch\nFloatStorage\n}X\x07\x00\x00\x00contentX\x01\x00\x00\x00xsb."
    ),
    "a changed slot": (
        b"\x80\x02ctorch\nFloatStorage\nN}X\x07\x00\x00\x00contentX\x01\x00\x00\x00xs\x86b."
    ),
    "a called type": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "tensors of nothing": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))NNtR.",
    "endless": b"\x80\x02" + b"(" * 5000,
    "empty": b"",
    "no dictionary": b"\x80\x02K\x01.",
    "a storage of another form": b"\x80\x02X\x01\x00\x00\x00aQ.",
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_a_hostile_pickle_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLES[name])
    refused(path)
    allowed = pickled._ALLOWED["torch", "FloatStorage"]
    assert allowed.content == "float32"  # nothing of ours has changed


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((100,), (1,), 0), ((2,), (9,), 0), ((2,), (1,), 9), ((10**9, 10**9), (0, 0), 0),
     ((-1,), (1,), 0), ((2,), (-1,), 5), ((2, 2), (1,), 0)],
)  # fmt: skip
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, size: tuple, stride: tuple, offset: int
) -> None:
    class Lying(Tensor):
        def __reduce__(self) -> tuple:
            call, arguments = super().__reduce__()
            return call, (arguments[0], offset, size, stride, *arguments[4:])

    refused(write_pth(tmp_path / "a.pth", {"a": Lying(np.ones(9, np.float32))}))


def test_compressed_entries_and_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**26)
    assert "compressed" in refused(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("keep", [0, 1, 30, 200, 0.5, 0.9, -1])
def test_a_cut_file_is_one_line(tmp_path: Path, legacy: bool, keep: float) -> None:
    network = tiny("small")
    named = state_dict(network, trained(network).tensors, "timm")
    path = write_pth(tmp_path / "a.pth", as_tensors(named), legacy=legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(WeightsError) as raised:
        load_weights(str(path), network)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    content = as_tensors({f"a{i}": np.ones(3, np.float32) for i in range(5)})
    for legacy in (False, True):
        whole = write_pth(tmp_path / "a.pth", content, legacy=legacy).read_bytes()
        for _ in range(300):
            broken = bytearray(whole)
            for place in generator.integers(0, len(whole), 3):
                broken[place] = generator.integers(0, 256)
            (tmp_path / "b.pth").write_bytes(broken)
            with contextlib.suppress(WeightsError):
                for stored in read_pth(tmp_path / "b.pth")[0].values():
                    if stored.dtype.startswith("float"):
                        stored.float32()
