"""Files of keras_model: every form back to the same canonical weights."""

import json
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnasnet_deploy.errors import NotReadyError, WeightsError
from mnasnet_deploy.weights.canonical import Weights
from mnasnet_deploy.weights.choice import load_weights
from mnasnet_deploy.weights.opening import open_weights

from .bundles import tiny, trained

# Importing h5py asks the system for its processor in a process of its own.
pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.processes]

NETWORK = tiny("small", classes=7)
WEIGHTS = trained(NETWORK)
FORMS = ["whole.keras", "only.weights.h5", "old.h5", "exported", "saved", "checkpoint"]


def in_pytorch(weights: Weights) -> Weights:
    source = replace(weights.source, padding="symmetric", residual="real", batch_norm_epsilon=1e-5)
    return replace(weights, source=source)


def model_of(weights: Weights) -> Any:
    import keras

    from mnasnet_deploy.export.tensorflow import keras_model

    model = keras_model(NETWORK, weights)
    model.compile(optimizer=keras.optimizers.Adam(), loss="mse", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    with warnings.catch_warnings():  # Keras' own
        warnings.simplefilter("ignore")
        import keras
        import tensorflow

        model = model_of(WEIGHTS)
        model.save(folder / "whole.keras")
        model.save_weights(folder / "only.weights.h5")
        model.save(folder / "old.h5")
        model.export(folder / "exported", verbose=False)
        tensorflow.saved_model.save(model, str(folder / "saved"))
        tensorflow.train.Checkpoint(model=model).save(str(folder / "checkpoint" / "ckpt"))
        wrapped = keras.Sequential([keras.Input((64, 64, 3)), model, keras.layers.Softmax()])
        wrapped.save(folder / "wrapped.keras")
        foreign = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="foreign")])
        foreign.save(folder / "foreign.keras")
        foreign.save_weights(folder / "foreign.weights.h5")
    return folder


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("padded")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model_of(in_pytorch(WEIGHTS))
        model.save(folder / "whole.keras")
        model.save_weights(folder / "only.weights.h5")
        model.export(folder / "exported", verbose=False)
    return folder


def assert_whole(weights: Weights) -> None:
    for name, values in WEIGHTS.tensors.items():
        assert (weights.tensors[name] == values).all(), name


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_weights_back(saved: Path, form: str) -> None:
    loaded = load_weights(str(saved / form), NETWORK)
    assert_whole(loaded)
    source = loaded.source
    assert source.trained
    assert (source.label, source.padding) == (form, "same")
    assert source.adapt(NETWORK).layers == NETWORK.layers


@pytest.mark.parametrize("form", ["whole.keras", "only.weights.h5", "exported"])
def test_every_form_says_how_it_is_padded(padded: Path, form: str) -> None:
    loaded = load_weights(str(padded / form), NETWORK)
    assert_whole(loaded)
    source = loaded.source
    assert (source.padding, source.residual) == ("symmetric", "real")
    assert source.batch_norm_epsilon == pytest.approx(1e-5)
    assert bool(source.notes) == (form != "whole.keras")  # the others do not hold the epsilon


def test_a_model_inside_another_is_found_and_said(saved: Path) -> None:
    loaded = load_weights(str(saved / "wrapped.keras"), NETWORK)
    assert_whole(loaded)
    assert "left out" in loaded.source.notes[0]


def test_a_file_says_its_resolution(saved: Path) -> None:
    assert open_weights(saved / "whole.keras").resolution == 64


def test_layers_without_names_are_told_by_their_numbers(saved: Path, tmp_path: Path) -> None:
    """Early Keras 3 wrote no names into the HDF5 file: `conv2d_3` is the fourth in config.json."""
    import h5py

    with zipfile.ZipFile(saved / "whole.keras") as archive:
        archive.extractall(tmp_path)
    with h5py.File(tmp_path / "model.weights.h5", "r+") as file:
        groups: list[str] = []
        file.visit(lambda name: groups.append(name))
        for name in groups:
            file[name].attrs.pop("name", None)
    path = tmp_path / "nameless.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.write(tmp_path / name, name)
    assert_whole(load_weights(str(path), NETWORK))
    with pytest.raises(WeightsError, match=r"does not name its layers: save the whole .* \.keras"):
        open_weights(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("name", ["foreign.keras", "foreign.weights.h5"])
def test_models_of_others_are_refused(saved: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=r"keras_model|stem"):
        open_weights(saved / name)


@pytest.mark.parametrize("form", ["whole.keras", "only.weights.h5", "old.h5"])
def test_a_cut_file_is_one_line(saved: Path, tmp_path: Path, form: str) -> None:
    whole = (saved / form).read_bytes()
    path = tmp_path / form
    for keep in (10, 600, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(WeightsError) as raised:
            load_weights(str(path), NETWORK)
        assert "\n" not in str(raised.value)


def test_damaged_hdf5_never_crashes(saved: Path, tmp_path: Path) -> None:
    whole = (saved / "only.weights.h5").read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "w.h5"
    survived = 0
    for _ in range(40):
        broken = bytearray(whole)
        for place in generator.integers(8, 20_000, 20):
            broken[place] = generator.integers(0, 256)
        path.write_bytes(broken)
        try:
            load_weights(str(path), NETWORK)
        except WeightsError:
            survived += 1
    assert survived > 20
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + generator.bytes(5000))
    with pytest.raises(WeightsError, match="no whole HDF5 file"):
        open_weights(path)


def test_tensors_that_lie_elsewhere_are_refused(saved: Path, tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "linked.weights.h5"
    shutil.copy(saved / "only.weights.h5", path)
    with h5py.File(path, "r+") as file:
        place = file["layers/conv2d/vars"]
        del place["0"]
        place["0"] = h5py.ExternalLink(str(saved / "old.h5"), "/model_weights")
    with pytest.raises(WeightsError, match="lies in another file"):
        open_weights(path)
    with h5py.File(path, "r+") as file:
        place = file["layers/conv2d/vars"]
        del place["0"]
        place.create_dataset("0", (2**20, 2**20), "f4", compression="gzip", chunks=(1024, 1024))
    with pytest.raises(WeightsError, match="compressed or not whole"):
        open_weights(path)


def test_hostile_configs_are_one_line(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved / "whole.keras") as archive:
        config = json.loads(archive.read("config.json"))
        tensors = archive.read("model.weights.h5")
    layers = config["config"]["layers"]
    broken = {
        "nested": "[" * 100_000,
        "text": "hello",
        "empty": "{}",
        "epsilon": json.dumps(
            {"config": {"layers": [*layers, {**layers[2], "class_name": "BatchNormalization",
                                             "config": {"name": "x", "epsilon": 0.5}}]}}
        ),
    }  # fmt: skip
    for name, text in broken.items():
        with zipfile.ZipFile(tmp_path / f"{name}.keras", "w") as archive:
            archive.writestr("config.json", text)
            archive.writestr("model.weights.h5", tensors)
        with pytest.raises(WeightsError) as raised:
            open_weights(tmp_path / f"{name}.keras")
        assert "\n" not in str(raised.value)


def test_without_h5py_the_command_that_brings_it_is_named(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    for form in ("whole.keras", "only.weights.h5"):
        with pytest.raises(NotReadyError, match=r"pip install 'mnasnet-deploy\[tensorflow\]'"):
            open_weights(saved / form)
    assert_whole(load_weights(str(saved / "exported"), NETWORK))  # a SavedModel needs none


def test_the_pages_example_saves_a_file_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mnasnet: Callable
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():  # Keras' own
        warnings.simplefilter("ignore")
        exec(page.partition("```python\n")[2].partition("```")[0], {})
    run = mnasnet("weights", "check", "mine.keras")
    assert run.code == 0, run.err
    assert "fits mnasnet-a1 0.5 with 7 classes" in run.out
    assert open_weights(tmp_path / "mine.keras").resolution == 160
