"""Files for these tests: real ones, handmade ones that misbehave, and plain bytes in a campaign."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from softphone.fixtures import need
from softphone.rig import Rig

from mnasnet_deploy.bench import fleet
from mnasnet_deploy.bench.keeper import Keeper
from mnasnet_deploy.bench.start import ask, start
from mnasnet_deploy.cli.main import main
from mnasnet_deploy.results.record import Artifact, Settings

SPEC = """\
name: tiny
blocks: [r1_k3_s22_e1_i8_o8_noskip]
stem: {channels: 8}
head: {channels: 16}
classes: 4
"""

QUICK = Settings(
    profile="host",
    threads=1,
    delegate="xnnpack",
    cpus=(),
    warmup_runs=1,
    warmup_ms=0.0,
    runs=5,
    min_ms=0.0,
    launches=2,
    max_launches=2,
    seed=7,
)


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benches of other people on this machine are not waited for."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture(scope="module")
def module_rig(tmp_path_factory: pytest.TempPathFactory, adb_home: Path) -> Iterator[Rig]:
    """A private adb server for the tests of a module, which share its phones or take their own."""
    need("pip-adb", "namespaces")
    with Rig(tmp_path_factory.mktemp("rig"), home=adb_home) as rig:
        yield rig


@pytest.fixture
def use_rig(monkeypatch: pytest.MonkeyPatch):
    """`use_rig(rig)`: whatever this process does with adb, it does with that server."""

    def use(rig: Rig) -> None:
        environment = rig.environment
        for name in [name for name in os.environ if name.startswith(("ADB", "ANDROID_"))]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            if name.startswith(("ADB", "ANDROID_")) or name in ("HOME", "PATH"):
                monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def quick() -> Settings:
    """The smallest measurement there is."""
    return QUICK


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tiny.yaml`, and `models/` with its float32 and int8 files at 32 pixels."""
    folder = tmp_path_factory.mktemp("exported")
    spec = folder / "tiny.yaml"
    spec.write_text(SPEC)
    arguments = ["--spec", spec, "--res", 32, "--float32", "--int8", "--calibration-samples", 2]
    assert main(["export", *map(str, [*arguments, "--out", folder / "models"])]) == 0
    return folder


@pytest.fixture(scope="session")
def tiny_float32(exported: Path) -> Path:
    return exported / "models" / "tiny_1.0_32_float32.tflite"


@pytest.fixture(scope="session")
def tiny_int8(exported: Path) -> Path:
    return exported / "models" / "tiny_1.0_32_int8.tflite"


@pytest.fixture(scope="session")
def handmade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files made by others.

    `foreign` runs; `refused` has a shape no runtime takes; `crashing` asks for a loop whose
    condition is the model itself, which recurses until the stack is gone; `hanging` loops for
    ever, and `undelegated` loops no time, in an operator XNNPACK does not take.
    """
    folder = tmp_path_factory.mktemp("handmade")
    files = {
        "foreign": _dense([1, 8]),
        "refused": _dense([-5, 8]),
        "crashing": _loop(condition=0, body=1),
        "hanging": _loop(condition=1, body=2),
        "undelegated": _loop(condition=3, body=2),
    }
    for name, model in files.items():
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        (folder / f"{name}.tflite").write_bytes(bytes(builder.Output()))
    return folder


def _dense(shape: list[int]) -> schema.ModelT:
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("in", shape),
        _tensor("weights", [4, 8], buffer=1),
        _tensor("bias", [4], buffer=2),
        _tensor("out", [1, 4]),
    ]
    graph.inputs, graph.outputs = _ints(0), _ints(3)
    options = schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT()
    graph.operators = [_operator(0, [0, 1, 2], [3], options)]
    buffers = [schema.BufferT() for _ in range(3)]
    buffers[1].data = np.ones(32, np.float32).view(np.uint8)
    buffers[2].data = np.zeros(4, np.float32).view(np.uint8)
    return _model([graph], [schema.BuiltinOperator.FULLY_CONNECTED], buffers)


def _loop(*, condition: int, body: int) -> schema.ModelT:
    """A WHILE over one float; subgraph 1 is always true, 2 negates, 3 is never true."""
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = condition, body
    main = _graph([_operator(0, [0], [1], (schema.BuiltinOptions.WhileOptions, options))])
    always = _graph([_operator(1, [0, 0], [1])], schema.TensorType.BOOL)
    negate = _graph([_operator(2, [0], [1])])
    never = _graph([_operator(3, [0, 0], [1])], schema.TensorType.BOOL)
    kinds = schema.BuiltinOperator
    return _model(
        [main, always, negate, never],
        [kinds.WHILE, kinds.EQUAL, kinds.NEG, kinds.NOT_EQUAL],
        [schema.BufferT()],
    )


def _graph(operators: list[schema.OperatorT], output: int = schema.TensorType.FLOAT32):
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("x", [1]), _tensor("y", [1], kind=output)]
    graph.inputs, graph.outputs = _ints(0), _ints(1)
    graph.operators = operators
    return graph


def _tensor(name, shape, *, kind=schema.TensorType.FLOAT32, buffer=0):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, _ints(*shape), kind, buffer
    return tensor


def _operator(code, inputs, outputs, options=(0, None)):
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = _ints(*inputs), _ints(*outputs)
    operator.builtinOptionsType, operator.builtinOptions = options
    return operator


def _model(graphs, kinds, buffers):
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, graphs, buffers
    model.operatorCodes = []
    for kind in kinds:
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, kind, 1
        model.operatorCodes.append(code)
    return model


def _ints(*values):
    return np.array(values, np.int32)


@pytest.fixture
def files(tmp_path):
    """Four files with what they are."""
    folder = tmp_path / "models"
    folder.mkdir()
    found = []
    for size, name in enumerate("abcd", start=5):
        path = folder / f"{name}.tflite"
        path.write_bytes(name.encode() * size)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        artifact = Artifact(file=path.name, sha256=sha256, size_bytes=size)
        found.append((path, artifact))
    return found


@pytest.fixture
def bench(tmp_path, files, quick):
    """`bench(devices)` starts a campaign and gives its keeper and everything that happened."""

    def run(devices, which=files, folder=tmp_path / "results"):
        campaign, jobs = start(which, [ask(one, [quick]) for one in devices], seed=7)
        keeper = Keeper(campaign=campaign, folder=folder)
        heard = []
        with keeper, contextlib.closing(fleet.run(jobs, keeper)) as events:
            heard += [(job.device.name, news) for job, news in events]
        return keeper, heard

    return run
