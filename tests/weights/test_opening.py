"""Weights are told by their content, whatever their names; wrong ones by what they are."""

import json
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.errors import MnasnetError, WeightsError
from mnasnet_deploy.weights import opening
from mnasnet_deploy.weights.canonical import Weights, write_safetensors
from mnasnet_deploy.weights.choice import load_source, load_weights, weights_of
from mnasnet_deploy.weights.identity import identify, shapes_of
from mnasnet_deploy.weights.opening import open_weights
from mnasnet_deploy.weights.source import Preprocessing, WeightSource

from .bundles import EMA, official_names, tiny, trained, write_bundle
from .torches import as_tensors, state_dict, write_pth

pytestmark = pytest.mark.slow

NETWORK = tiny()
WEIGHTS = trained(NETWORK)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """What an official archive may hold: a SavedModel inside a folder named like it."""
    folder = tmp_path / "mnasnet-a1" / "saved_model"
    names = official_names(NETWORK, WEIGHTS.tensors, suffix=EMA)
    write_bundle(folder / "variables" / "variables", names)
    (folder / "saved_model.pb").write_bytes(b"graph")
    return tmp_path / "mnasnet-a1"


def pack(folder: Path, archive: Path, mode: str = "w:gz") -> Path:
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        tar.add(folder, folder.name)
    return archive


def assert_whole(path: Path) -> None:
    loaded = load_weights(str(path), NETWORK)
    for name, values in WEIGHTS.tensors.items():
        assert (loaded.tensors[name] == values).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "inner",
    ["", "saved_model", "saved_model/variables", "saved_model/variables/variables",
     "saved_model/variables/variables.index", "saved_model/saved_model.pb",
     "saved_model/variables/variables.data-00000-of-00001"],
)  # fmt: skip
def test_a_saved_model_is_found_from_any_of_its_parts(official: Path, inner: str) -> None:
    assert_whole(official / inner)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), [("a.tgz", "w:gz"), ("a.bin", "w:gz"), ("a", "w")])
def test_an_archive_is_told_by_its_content(
    official: Path, tmp_path: Path, name: str, mode: str
) -> None:
    archive = pack(official, tmp_path / name, mode)
    assert_whole(archive)
    assert load_weights(str(archive), NETWORK).source.label == name  # never a path


@pytest.mark.parametrize("name", ["weights.jpg", "weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("kind", ["pth", "safetensors", "canonical", "checkpoint"])
def test_names_mean_nothing(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    named = state_dict(NETWORK, WEIGHTS.tensors, "timm")
    if kind == "pth":
        write_pth(path, as_tensors(named))
    elif kind == "safetensors":
        save_file({f"module.{name}": values for name, values in named.items()}, path)
    elif kind == "canonical":
        write_safetensors(path, WEIGHTS)
    else:
        write_bundle(path, official_names(NETWORK, WEIGHTS.tensors))
    assert_whole(path)


def test_a_broken_file_in_an_archive_is_named_without_the_place_it_was_unpacked_to(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    archive = pack(folder, tmp_path / "hub.tgz")
    with pytest.raises(
        WeightsError, match=r"^hub\.tgz: model\.safetensors is not a readable safetensors file"
    ):
        open_weights(archive)


def test_a_canonical_file_keeps_what_its_weights_ask_for(tmp_path: Path) -> None:
    source = WeightSource(
        label="theirs",
        trained=True,
        dataset="imagenet-1k",
        licence="BSD-3-Clause",
        family="torchvision",
        averaged=True,
        padding="symmetric",
        residual="real",
        batch_norm_epsilon=1e-5,
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
        preprocessing=Preprocessing(interpolation="bilinear", crop=(224, 232)),
        notes=("said",),
    )
    path = tmp_path / "w.safetensors"
    write_safetensors(path, Weights(tensors=WEIGHTS.tensors, source=source))
    assert load_weights(str(path), NETWORK).source == source
    assert load_source(str(path), NETWORK) == source


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for seed in (1, 2):
        wanted = trained(NETWORK, seed)
        write_safetensors(path, wanted)
        loaded = load_weights(str(path), NETWORK)
        assert (loaded.tensors["stem.kernel"] == wanted.tensors["stem.kernel"]).all()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("multiplier", [None, 1.4, 1.0, 0.75, 0.5, 0.35])
def test_a_network_is_known_by_its_shapes(name: str, multiplier: float | None) -> None:
    from mnasnet_deploy.weights.canonical import tensor_shapes

    network = build_network(VARIANTS[name].spec, multiplier=multiplier, classes=7)
    shapes = tensor_shapes(network)
    known = identify(shapes)
    assert known is not None
    assert known.spec.name == network.name
    assert known.classes == 7
    again = build_network(known.spec, multiplier=known.multiplier, classes=7)
    assert tensor_shapes(again) == shapes
    # An asked multiplier wins among those that give the same widths.
    asked = identify(shapes, asked=multiplier)
    assert asked is not None
    assert asked.multiplier == multiplier


def test_what_is_no_network_is_not_known() -> None:
    shapes = shapes_of(WEIGHTS.tensors)
    assert identify({}) is None
    assert identify({"classifier.bias": (10,)}) is None
    assert identify({n: s for n, s in shapes.items() if n != "head.kernel"}) is None
    assert identify(shapes | {"head.kernel": (1, 1, 3, 1280)}) is None


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (tiny("b1"), "--variant a1"),
        (tiny(multiplier=0.5), "--multiplier 0.35"),
        (tiny(classes=7), "--classes 10"),
        (tiny("small", classes=3, multiplier=1.0), "--variant a1 --multiplier 0.35 --classes 10"),
    ],
    ids=["variant", "multiplier", "classes", "all"],
)
def test_another_network_is_named_with_the_options_that_fit(
    tmp_path: Path, asked: object, hint: str
) -> None:
    named = state_dict(NETWORK, WEIGHTS.tensors, "timm")
    path = write_pth(tmp_path / "a.pth", as_tensors(named))
    with pytest.raises(
        WeightsError, match=r"is of mnasnet-a1 0\.35 with 10 classes, not of"
    ) as raised:
        load_weights(str(path), asked)  # type: ignore[arg-type]
    assert f"use {hint}" in str(raised.value)


def test_a_background_class_is_explained(tmp_path: Path) -> None:
    network = tiny(classes=1001)
    names = official_names(network, trained(network).tensors)
    write_bundle(tmp_path / "model.ckpt-1", names)
    with pytest.raises(WeightsError, match=r"--classes 1001; .* background"):
        load_weights(str(tmp_path / "model.ckpt-1"), tiny(classes=1000))


def header(text: str, length: int | None = None) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content) if length is None else length) + content


BROKEN = {
    "empty": b"",
    "html": b"<!DOCTYPE html><html>404</html>",
    "text": b"hello",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a tflite file": b"\x1c\0\0\0TFL3" + bytes(100),
    "a zip of nothing": b"PK\x05\x06" + bytes(18),
    "half a zip": b"PK\x03\x04" + bytes(50),
    "half an archive": b"\x1f\x8b\x08\0" + bytes(50),
    "a header longer than the file": header("{}", 2**40),
    "a header that lies about offsets": header(
        json.dumps({"stem.kernel": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}})
    ),
    "a header that overlaps": header(
        json.dumps(
            {
                "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            }
        )
    ) + bytes(4),
    "a header that is no JSON": header("{nonsense"),
    "a huge shape": header(
        json.dumps({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}})
    ) + bytes(4),
    "tensors of something else": header(
        json.dumps({"bert.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    ) + bytes(4),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["", ".safetensors", ".pth", ".keras", ".tgz"])
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_none_is_one_line(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(BROKEN[name])
    with pytest.raises(MnasnetError) as raised:
        load_weights(str(path), NETWORK)
    assert raised.value.exit_code in (2, 3)
    assert "\n" not in str(raised.value)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_file_called_checkpoint_means_its_folder(tmp_path: Path) -> None:
    write_bundle(tmp_path / "net" / "model.ckpt-3", official_names(NETWORK, WEIGHTS.tensors))
    (tmp_path / "net" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    assert_whole(tmp_path / "net" / "checkpoint")
    with pytest.raises(WeightsError, match=r"ckpt-4; beside it lie model\.ckpt-3"):
        open_weights(tmp_path / "net" / "model.ckpt-4")


@pytest.mark.slow
def test_of_several_folders_in_an_archive_the_saved_model_is_taken(
    official: Path, tmp_path: Path
) -> None:
    write_bundle(official / "eval" / "model.ckpt-1", {"a": np.zeros(1, np.float32)})
    (official / "checkpoint").mkdir()
    assert_whole(pack(official, tmp_path / "net.tgz"))


def test_a_search_ends_in_folders_that_are_not_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "back").symlink_to(tmp_path)
    for number in range(20):
        (tmp_path / "a" / f"{number}.txt").touch()
    with pytest.raises(WeightsError, match="holds no weights of a kind known here"):
        open_weights(tmp_path)
    monkeypatch.setattr(opening, "MAX_NAMES", 20)
    with pytest.raises(WeightsError, match="more than 20 files: name the weights themselves"):
        open_weights(tmp_path)


def test_folders_without_or_with_too_many_weights(official: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="holds no weights"):
        open_weights(tmp_path / "empty")
    write_bundle(tmp_path / "other" / "model.ckpt-1", {"a": np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match="several folders of weights: name one of mnasnet-a1, o"):
        open_weights(tmp_path)
    with pytest.raises(WeightsError, match="no weights file"):
        open_weights(tmp_path / "missing")


def test_an_archive_with_a_bad_member_leaves_nothing(official: Path, tmp_path: Path) -> None:
    archive = tmp_path / "evil.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(official, "net")
        member = tarfile.TarInfo("../evil")
        tar.addfile(member)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WeightsError, match="leads out"):
        open_weights(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_wrong_inside_an_archive_is_told_with_its_name(
    official: Path, tmp_path: Path
) -> None:
    (official / "saved_model" / "variables" / "variables.index").write_bytes(b"cut")
    archive = pack(official, tmp_path / "net.tgz")
    with pytest.raises(WeightsError, match=r"net\.tgz: variables\.index is no whole index"):
        open_weights(archive)


def test_unused_names_are_refused_even_where_the_rest_fits(tmp_path: Path) -> None:
    names = official_names(NETWORK, WEIGHTS.tensors)
    names["mnasnet-a1/mnas_head/extra"] = np.zeros(2, np.float32)
    found = open_weights(write_bundle(tmp_path / "model.ckpt-1", names))
    with pytest.raises(WeightsError, match="nothing there takes mnasnet-a1/mnas_head/extra"):
        weights_of(found, NETWORK)
