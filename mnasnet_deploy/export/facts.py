"""What a file knows of itself: a JSON buffer named `mnasnet` inside the flatbuffer. Never a path.

Two checksums protect the file: `graph_sha256` covers every byte outside that buffer,
`facts_sha256` the buffer itself (with both checksums written as zeros).

Format history:
    1  first.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Final, Literal

from mnasnet_deploy.errors import InputError, ModelFileError
from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.typed_mapping import from_mapping
from mnasnet_deploy.weights.source import WeightSource

__all__ = [
    "BUFFER_NAME",
    "SCHEMA",
    "Calibration",
    "Facts",
    "NetworkFacts",
    "WeightFacts",
    "checksums_hold",
    "decode_facts",
    "encode_facts",
    "seal",
]

SCHEMA: Final = "mnasnet.model/1"
BUFFER_NAME: Final = "mnasnet"

Engine = Literal["writer", "tensorflow"]
_BLANK = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """Which network; the multiplier is None for no rounding."""

    name: str
    multiplier: float | None
    resolution: int
    classes: int
    divisor: int
    min_depth: int
    params: int
    macs: int
    multi_adds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts(WeightSource):
    """Where the weights come from and what they ask for; `sha256` is of the canonical tensors."""

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the int8 ranges come from.

    Attributes:
        images: how many.
        digest: sha256 over the pixels in order.
        synthetic: they were generated, no one photographed anything.
        ranges: `min-max` or `percentile:P`.
        warnings: what to know before trusting the ranges.
    """

    images: int
    digest: str
    synthetic: bool
    ranges: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a file says of itself.

    Attributes:
        tool: `mnasnet-deploy 0.1.0`.
        engine: `writer` (ours) or `tensorflow` (TFLiteConverter).
        network, scheme, weights, contract: what it is.
        calibration: None for float schemes.
        labels_sha256: of the class names in the file, empty where there are none.
        recipe: sha256 over all that decides the bytes; equal recipes need no second export.
        schema: the format.
    """

    tool: str
    engine: Engine
    network: NetworkFacts
    scheme: Scheme
    weights: WeightFacts
    contract: Contract
    calibration: Calibration | None
    labels_sha256: str
    recipe: str
    schema: str = SCHEMA

    @property
    def untrained(self) -> bool:
        """The weights were never trained, so classes mean nothing."""
        return not self.weights.trained


def encode_facts(facts: Facts) -> bytes:
    """The buffer's content with blank checksums; `seal` fills them in."""
    content = asdict(facts)
    content["graph_sha256"] = content["facts_sha256"] = _BLANK
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def seal(data: bytearray, start: int, length: int) -> None:
    """Fill in both checksums of a finished file, in place.

    Args:
        data: the whole file, appended labels included.
        start: of the `mnasnet` buffer in it.
        length: of that buffer.
    """
    graph = _graph_hash(data, start, length)
    buffer = bytes(data[start : start + length])
    own = hashlib.sha256(buffer).hexdigest()
    filled = buffer.replace(_field("graph_sha256", _BLANK), _field("graph_sha256", graph))
    filled = filled.replace(_field("facts_sha256", _BLANK), _field("facts_sha256", own))
    data[start : start + length] = filled


def checksums_hold(data: bytes | memoryview, start: int, length: int) -> bool:
    """Whether neither the file nor its facts changed since `seal`."""
    buffer = bytes(data[start : start + length])
    try:
        content = json.loads(buffer)
        graph, own = content["graph_sha256"], content["facts_sha256"]
        blank = buffer.replace(_field("graph_sha256", graph), _field("graph_sha256", _BLANK))
        blank = blank.replace(_field("facts_sha256", own), _field("facts_sha256", _BLANK))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    intact = graph == _graph_hash(data, start, length)
    return bool(intact and own == hashlib.sha256(blank).hexdigest())


def decode_facts(buffer: bytes, name: str) -> Facts:
    """Read the buffer's content.

    Args:
        buffer: the JSON.
        name: of the file, for the error.

    Raises:
        ModelFileError: not JSON, another format, or a field of the wrong kind.
    """
    try:
        content = json.loads(buffer)
        schema = content.get("schema")
        if schema != SCHEMA:
            raise ModelFileError(
                f"{name}: its facts have format {schema!r}, this version reads {SCHEMA!r}"
            )
        content = {k: v for k, v in content.items() if not k.endswith("_sha256") or k in _NAMES}
        return from_mapping(Facts, content, "facts")
    except ModelFileError:
        raise
    except (InputError, ValueError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{name}: its facts are not readable ({error})") from error


def _field(key: str, value: str) -> bytes:
    return f'"{key}":"{value}"'.encode()


def _graph_hash(data: bytes | bytearray | memoryview, start: int, length: int) -> str:
    state = hashlib.sha256(memoryview(data)[:start])
    state.update(memoryview(data)[start + length :])
    return state.hexdigest()


_NAMES = {field.name for field in fields(Facts)}
