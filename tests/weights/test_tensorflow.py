"""The original trainer's checkpoints: names, sets, parts, damage; TensorFlow is the oracle."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.bundle import read_bundle
from mnasnet_deploy.weights.canonical import check
from mnasnet_deploy.weights.crc32c import crc32c
from mnasnet_deploy.weights.tensorflow import from_official, resolve_prefix

from .bundles import EMA, official_names, tiny, trained, write_bundle


def bitwise(data: bytes) -> int:
    """CRC-32C as its definition says."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


@given(st.binary(max_size=300))
def test_the_checksum_of_short_data(data: bytes) -> None:
    assert crc32c(data) == bitwise(data)


@pytest.mark.parametrize("size", [4095, 4096, 4097, 8191, 20_011, 66_000])
def test_the_checksum_of_long_data(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == bitwise(data)


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4
    assert crc32c(bytes(32)) == 0x8A9136AA


@pytest.mark.slow
@pytest.mark.parametrize("keras", [True, False])
@pytest.mark.parametrize("variant", ["a1", "b1", "small", "d1"])
def test_names_of_both_kinds_become_canonical(tmp_path: Path, variant: str, keras: bool) -> None:
    network = tiny(variant)
    weights = trained(network)
    names = official_names(network, weights.tensors, keras=keras)
    found = from_official(write_bundle(tmp_path / "model.ckpt-9", names), "net")
    assert found.unused == ()
    check(network, found.tensors, "net")
    for name, values in weights.tensors.items():
        assert (found.tensors[name] == values).all(), name
    assert found.source.averaged is False
    assert found.source.padding == "same"
    assert found.source.batch_norm_epsilon == 1e-3


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A trainer's checkpoint with raw, averaged and slot variables in three parts."""
    network = tiny()
    raw = official_names(network, trained(network, 1).tensors)
    average = official_names(network, trained(network, 2).tensors)
    slots = {f"{name}/{slot}": v for name, v in raw.items() for slot in ("RMSProp", "RMSProp_1")}
    everything = raw | {name + EMA: v for name, v in average.items()} | slots
    everything["global_step"] = np.array(1000, np.int64)
    prefix = write_bundle(tmp_path / "net" / "model.ckpt-1000", everything, shards=3)
    return prefix, raw, average


@pytest.mark.slow
def test_the_averages_are_preferred_as_a_set(both: tuple) -> None:
    prefix, _, average = both
    found = from_official(prefix, "net")
    assert found.source.averaged is True
    assert found.unused == ()
    for canonical, name in found.places.items():
        assert (found.tensors[canonical] == average[name.removesuffix(EMA)]).all()


@pytest.mark.slow
def test_without_averages_the_raw_ones_are_taken(both: tuple) -> None:
    prefix, raw, _ = both
    found = from_official(prefix, "net", averaged=False)
    assert found.source.averaged is False
    for canonical, name in found.places.items():
        assert (found.tensors[canonical] == raw[name]).all()


def test_averages_alone_are_enough_and_have_no_raw_ones(tmp_path: Path) -> None:
    """The original's own SavedModels store every variable under its average's name."""
    network = tiny()
    names = official_names(network, trained(network).tensors, suffix=EMA)
    prefix = write_bundle(tmp_path / "variables" / "variables", names)
    assert from_official(prefix, "net").source.averaged is True
    with pytest.raises(WeightsError, match="leave --no-ema out"):
        from_official(prefix, "net", averaged=False)


@pytest.mark.slow
def test_sets_are_never_mixed(tmp_path: Path) -> None:
    network = tiny()
    raw = official_names(network, trained(network).tensors)
    some = {name + EMA: v for name, v in raw.items() if "moving" not in name}
    prefix = write_bundle(tmp_path / "model.ckpt-1", raw | some)
    with pytest.raises(WeightsError) as raised:
        from_official(prefix, "net")
    assert "--no-ema" in str(raised.value)
    assert str(raised.value).count("moving_mean") > 40  # all that lack are listed
    assert from_official(prefix, "net", averaged=False).source.averaged is False


def test_a_model_built_twice_in_one_graph_is_read_by_order(tmp_path: Path) -> None:
    network = tiny()
    weights = trained(network)
    names = {
        name.replace("mnas_net_model", "mnas_net_model_1"): values
        for name, values in official_names(network, weights.tensors).items()
    }
    found = from_official(write_bundle(tmp_path / "model.ckpt-1", names), "net")
    assert (found.tensors["stem.kernel"] == weights.tensors["stem.kernel"]).all()


def test_what_belongs_to_no_layer_is_named(tmp_path: Path) -> None:
    network = tiny()
    names = official_names(network, trained(network).tensors)
    names["mnasnet-a1/aux_head/kernel"] = np.zeros(3, np.float32)
    names["mnasnet-a1/mnas_net_model/mnas_head/conv2d_99/kernel"] = np.zeros(3, np.float32)
    found = from_official(write_bundle(tmp_path / "model.ckpt-1", names), "net")
    assert sorted(found.unused) == [
        "mnasnet-a1/aux_head/kernel", "mnasnet-a1/mnas_net_model/mnas_head/conv2d_99/kernel",
    ]  # fmt: skip


def test_a_mobilenet_is_told_from_a_mnasnet(tmp_path: Path) -> None:
    names = {"MobilenetV2/Conv/weights": np.zeros((3, 3, 3, 32), np.float32)}
    with pytest.raises(WeightsError, match="no checkpoint of MnasNet: it holds MobilenetV2/Conv"):
        from_official(write_bundle(tmp_path / "model.ckpt-1", names), "net")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_floats_are_converted_and_said(tmp_path: Path, dtype: str) -> None:
    network = tiny()
    weights = trained(network)
    names = official_names(network, weights.tensors)
    if dtype == "bfloat16":
        stored = {n: (v.view(np.uint32) >> 16).astype(np.uint16) for n, v in names.items()}
    else:
        stored = {n: v.astype(dtype) for n, v in names.items()}
    found = from_official(write_bundle(tmp_path / "model.ckpt-1", stored), "net")
    tolerance = {"float16": 1e-3, "float64": 0.0, "bfloat16": 8e-3}[dtype]
    for name, values in weights.tensors.items():
        np.testing.assert_allclose(found.tensors[name], values, rtol=tolerance, atol=1e-4)
    assert f"{dtype} tensors were converted to float32" in found.source.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_part_is_named(both: tuple, missing: int) -> None:
    prefix, _, _ = both
    name = f"{prefix.name}.data-{missing:05d}-of-00003"
    prefix.with_name(name).unlink()
    with pytest.raises(WeightsError, match=f"lacks {name}"):
        from_official(prefix, "net")


@pytest.mark.slow
def test_a_part_that_is_cut_or_damaged_is_named(both: tuple) -> None:
    prefix, _, _ = both
    part = prefix.with_name(f"{prefix.name}.data-00001-of-00003")
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="truncated"):
        from_official(prefix, "net", averaged=False)
    part.write_bytes(bytes(100) + whole[100:])
    with pytest.raises(WeightsError, match="damaged"):
        from_official(prefix, "net", averaged=False)


def test_an_index_that_is_cut_or_none_is_refused(both: tuple, tmp_path: Path) -> None:
    prefix, _, _ = both
    index = prefix.with_name(f"{prefix.name}.index")
    whole = index.read_bytes()
    for content in (b"", b"garbage" * 100, whole[:-1], whole[1:], whole[: len(whole) // 2]):
        index.write_bytes(content)
        with pytest.raises(WeightsError, match="no whole index"):
            read_bundle(prefix)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 10**9), value=st.integers(0, 255))
def test_a_flipped_byte_in_the_index_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    prefix = tmp_path_factory.mktemp("flip") / "m"
    write_bundle(prefix, {f"a{i}": np.arange(i + 1, dtype=np.float32) for i in range(60)})
    index = prefix.with_name("m.index")
    content = bytearray(index.read_bytes())
    content[place % len(content)] = value
    index.write_bytes(content)
    try:
        tensors = read_bundle(prefix).tensors
    except WeightsError:
        return
    for number in range(60):
        assert (tensors[f"a{number}"].float32() == np.arange(number + 1)).all()


def test_the_checkpoint_file_chooses_and_absolute_paths_are_not_followed(tmp_path: Path) -> None:
    for step in (1, 2):
        write_bundle(tmp_path / f"model.ckpt-{step}", {"a": np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match="several checkpoints: name one"):
        resolve_prefix(tmp_path)
    for line in ("model.ckpt-2", "/cns/home/someone/model.ckpt-2", "C:\\\\run\\\\model.ckpt-2"):
        (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{line}"\n')
        assert resolve_prefix(tmp_path) == tmp_path / "model.ckpt-2"
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-7"\n')
    with pytest.raises(WeightsError, match=r"model\.ckpt-7, of which there is no \.index"):
        resolve_prefix(tmp_path)
    for path in tmp_path.glob("model.ckpt-1.*"):
        path.unlink()
    assert resolve_prefix(tmp_path) == tmp_path / "model.ckpt-2"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match="holds no checkpoint"):
        resolve_prefix(empty)


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.processes  # the import of TensorFlow starts one
def test_tensorflow_reads_the_same_from_its_own_files_and_from_ours(
    both: tuple, tmp_path: Path
) -> None:
    import tensorflow

    ours, _, _ = both
    (tmp_path / "tf").mkdir()
    with tensorflow.Graph().as_default():
        values = np.random.default_rng(0).normal(size=(3, 70, 900)).astype(np.float32)
        variables = {
            f"scope_{i}/v": tensorflow.compat.v1.get_variable(f"v{i}", initializer=values[:, i])
            for i in range(70)
        }
        variables["half"] = tensorflow.compat.v1.get_variable(
            "half", initializer=values[0].astype(np.float16)
        )
        with tensorflow.compat.v1.Session() as session:
            session.run(tensorflow.compat.v1.global_variables_initializer())
            saver = tensorflow.compat.v1.train.Saver(variables, sharded=True)
            theirs = Path(saver.save(session, str(tmp_path / "tf" / "model.ckpt"), 5))
    for prefix in (ours, theirs):
        reader = tensorflow.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        tensors = read_bundle(prefix).tensors
        assert set(tensors) == set(shapes)
        for name, stored in tensors.items():
            wanted = reader.get_tensor(name)
            assert stored.shape == wanted.shape
            if wanted.dtype.kind == "f":
                assert (stored.float32() == wanted.astype(np.float32)).all()
