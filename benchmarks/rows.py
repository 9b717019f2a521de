"""The rows of the table: what is measured against what, and how far it should reach."""

import random
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import work
from measure import isolated, run_command, run_watched, say, side_by_side
from PIL import Image
from work import SCHEMES, Size

from mnasnet_deploy.arch.counts import count_network
from mnasnet_deploy.results import store
from mnasnet_deploy.results.record import Scheme

HERE = Path(__file__).parent
PHOTOS = HERE.parent / "examples" / "photos"
MNASNET = Path(sysconfig.get_path("scripts")) / "mnasnet"
PROCESSES = 2
GRID_MULTIPLIERS = (1.4, 1.0, 0.75, 0.5, 0.35)
GRID_RESOLUTIONS = (224, 192, 160, 128, 96)


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        size: of the network most rows are about.
        grid: multipliers and resolutions of the grid.
        scaled: rows of the grid that TFLiteConverter is measured on.
        grids, colds, starts: how often whole processes are repeated.
        processes, blocks, block_s: paired latency blocks.
        evaluated: images of an evaluation, and how often it is run.
    """

    size: Size = field(default_factory=Size)
    grid: tuple[tuple[float, ...], tuple[int, ...]] = (GRID_MULTIPLIERS, GRID_RESOLUTIONS)
    scaled: tuple[tuple[float, int], tuple[float, int]] = ((1.0, 224), (0.5, 128))
    grids: int = 3
    colds: int = 5
    starts: int = 21
    processes: int = 6
    blocks: int = 10
    block_s: float = 0.25
    evaluated: tuple[int, int] = (16_384, 3)


FULL = Plan()
QUICK = Plan(
    size=Size(multiplier=0.35, resolution=96, images=8, ours=3, theirs=1),
    grid=((0.5, 0.35), (128, 96)),
    scaled=((0.5, 128), (0.35, 96)),
    grids=1,
    colds=1,
    starts=5,
    processes=2,
    blocks=4,
    block_s=0.05,
    evaluated=(256, 1),
)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str
    ours: str
    against: str
    theirs: str
    result: str
    reach: str
    met: bool
    limit: str = ""


def float32(plan: Plan) -> Iterator[Row]:
    """Arrays in memory to a float32 file."""
    ours = isolated(work.time_write, plan.size, "float32", "ours")
    theirs = isolated(work.time_write, plan.size, "float32", "theirs")
    disk = isolated(work.time_disk, plan.size)
    yield Row(
        work=f"float32 {plan.size}, arrays to file",
        ours=_seconds(ours),
        against="Keras build + `from_keras_model().convert()`",
        theirs=_seconds(theirs),
        **_faster(theirs / ours, 60),
        limit=f"{_seconds(disk)}: writing and syncing the same bytes",
    )


def int8(plan: Plan) -> Iterator[Row]:
    """Arrays and images in memory to an int8 file."""
    ours = isolated(work.time_write, plan.size, "int8", "ours")
    theirs = isolated(work.time_write, plan.size, "int8", "theirs")
    limit = isolated(work.time_inferences, plan.size)
    yield Row(
        work=f"int8 {plan.size}, {plan.size.images} images in memory",
        ours=_seconds(ours),
        against="the same with a representative dataset, full int8",
        theirs=_seconds(theirs),
        **_faster(theirs / ours, 10),
        limit=f"{_seconds(limit)}: the float32 network over the images, all CPUs",
    )


def grid(plan: Plan) -> Iterator[Row]:
    """The whole grid as one command, and its memory."""
    multipliers, resolutions = plan.grid
    times, peaks = [], []
    for _ in range(plan.grids):
        elapsed, peak = _export_grid(plan)
        times.append(elapsed)
        peaks.append(peak)
    ours = statistics.median(times)
    say("  TFLiteConverter on two rows of the grid, two processes at once")
    sizes = [
        replace(plan.size, multiplier=multiplier, resolution=resolution)
        for multiplier, resolution in plan.scaled
    ]
    found = side_by_side(work.time_rows, [(sizes,), (sizes[::-1],)])
    points = [
        (macs, statistics.mean(each[name][1] for each in found))
        for name, (macs, _) in found[0].items()
    ]
    theirs = _scaled_to_grid(points, plan) / PROCESSES
    networks = [
        replace(plan.size, multiplier=multiplier, resolution=resolution)
        for multiplier in multipliers
        for resolution in resolutions
    ]
    limit = sum(isolated(work.time_inferences, size) for size in networks)
    measured = " and ".join(
        f"{size}: {seconds:.0f} s" for size, (_, seconds) in zip(sizes, points, strict=True)
    )
    yield Row(
        work=f"the grid: {len(networks)} x {len(SCHEMES)} schemes, {plan.size.images} images each, "
        f"verified, {PROCESSES} processes, whole command",
        ours=_seconds(ours),
        against=f"TFLiteConverter, not verified, {PROCESSES} processes; scaled by MACs from two "
        f"rows ({measured})",
        theirs=_seconds(theirs),
        **_faster(theirs / ours, 40),
        limit=f"{_seconds(limit)}: the float32 networks over the calibration images, all CPUs",
    )
    yield from _memory_row(plan, max(peaks))


def memory(plan: Plan) -> Iterator[Row]:
    """Peak memory alone."""
    yield from _memory_row(plan, _export_grid(plan)[1])


def cold(plan: Plan) -> Iterator[Row]:
    """Whole processes, photos from the disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_photos(folder / "photos", plan.size.images)
        size = plan.size
        chosen = [str(size.multiplier), str(size.resolution)]
        export = [
            MNASNET, "export", "--multiplier", chosen[0], "--res", chosen[1], "--weights", "random",
            "--int8", "--calibration", "photos", "--calibration-samples", str(size.images),
        ]  # fmt: skip
        script = [sys.executable, HERE / "converter_script.py", "photos", *chosen]
        ours, theirs = [], []
        for index in range(plan.colds):
            ours.append(run_command([*export, "--out", f"ours{index}"], folder))
            if index < size.theirs:
                theirs.append(run_command([*script, f"theirs{index}.tflite"], folder))
    mine, other = statistics.median(ours), statistics.median(theirs)
    yield Row(
        work=f"cold `mnasnet export --int8` of {size}, {size.images} photos from the disk, "
        "verified, whole command",
        ours=_seconds(mine),
        against="`benchmarks/converter_script.py`, 15 lines around TFLiteConverter",
        theirs=_seconds(other),
        **_faster(other / mine, 8),
    )


def startup(plan: Plan) -> Iterator[Row]:
    """Commands that need no tensors, on a pipe."""
    commands = {
        "typer": [sys.executable, "-c", "import typer"],
        "--help": [MNASNET, "--help"],
        "table": [MNASNET, "table"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(plan.starts + 1):
            for name in random.sample(list(commands), len(commands)):
                elapsed = run_command(commands[name], Path(folder))
                if index:  # the first fills the disk cache
                    times[name].append(elapsed)
    medians = {name: statistics.median(values) * 1e3 for name, values in times.items()}
    for name in ("--help", "table"):
        more = medians[name] - medians["typer"]
        yield Row(
            work=f"`mnasnet {name}` on a pipe",
            ours=f"{medians[name]:.0f} ms",
            against='`python -c "import typer"`',
            theirs=f"{medians['typer']:.0f} ms",
            result=f"{more:+.0f} ms",
            reach="within 60 ms",
            met=more <= 60,
        )


def latency(plan: Plan) -> Iterator[Row]:
    """Our files against TFLiteConverter's of the same weights."""
    against = "TFLiteConverter's file of the same weights"
    for scheme in SCHEMES:
        yield _latency_row(plan, scheme, work.write_pair, str(plan.size), against)


def padding(plan: Plan) -> Iterator[Row]:
    """What the padding of timm's and torchvision's weights costs."""
    for scheme in SCHEMES:
        name = f"{plan.size}, padded on all sides,"
        yield _latency_row(plan, scheme, work.write_paddings, name, "the same file padded as SAME")


def _latency_row(
    plan: Plan, scheme: Scheme, write: Callable[..., tuple[Path, Path]], name: str, against: str
) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = isolated(write, plan.size, scheme, Path(folder))
        pairs = []
        for index in range(plan.processes):
            pairs += isolated(
                work.pair_latencies, ours, theirs, plan.blocks, plan.block_s, bool(index % 2)
            )
    ratios = sorted(mine / other for mine, other in pairs)
    ratio = statistics.median(ratios)
    low, high = _median_interval(ratios)
    return Row(
        work=f"latency of {name} {scheme}, one thread, {len(pairs)} paired blocks",
        ours=f"{statistics.median(mine for mine, _ in pairs):.2f} ms",
        against=against,
        theirs=f"{statistics.median(other for _, other in pairs):.2f} ms",
        result=f"{ratio:.3f} [{low:.3f}, {high:.3f}]",
        reach="at most 1.03",
        met=ratio <= 1.03,
    )


def evaluate(plan: Plan) -> Iterator[Row]:
    """`mnasnet eval` on two processes against two interpreters that do nothing but infer."""
    images, repeats = plan.evaluated
    rates, costs, bare_rates, bare_costs = [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_labelled(folder / "val", images)
        export = [MNASNET, "export", "--weights", "random", "--float32"]
        export += ["--multiplier", str(plan.size.multiplier), "--res", str(plan.size.resolution)]
        run_command(export, folder)
        (model,) = (folder / "models").glob("*.tflite")
        command = [MNASNET, "eval", model, "--data", "val", "--jobs", str(PROCESSES)]
        for index in range(repeats):
            # In turns, so that a machine that slows down slows both.
            bare = side_by_side(work.run_bare, [(model, plan.size.theirs * 2.0)] * PROCESSES)
            bare_rates.append(sum(rate for rate, _ in bare))
            bare_costs.append(statistics.mean(cost for _, cost in bare))
            results = folder / f"results{index}"
            rates.append(images / run_command([*command, "--results", results], folder))
            costs += [accuracy.cpu_ms for accuracy in store.load(results).accuracies]
    ours, theirs = statistics.median(rates), statistics.median(bare_rates)
    what = f"float32 {plan.size} over {images:,} photos of 500 x 375"
    yield Row(
        work=f"`mnasnet eval` of {what}, {PROCESSES} processes, whole command",
        ours=f"{ours:.0f} a second",
        against=f"{PROCESSES} interpreters that only infer",
        theirs=f"{theirs:.0f} a second",
        result=f"{ours / theirs:.2f}x",
        reach="0.75x",
        met=ours / theirs >= 0.75,
    )
    cost, inference = statistics.median(costs), statistics.median(bare_costs)
    yield Row(
        work="processor time of an image of that evaluation, decoding and resizing included",
        ours=f"{cost:.2f} ms",
        against="the inference alone",
        theirs=f"{inference:.2f} ms",
        result=f"{cost - inference:+.2f} ms",
        reach="within 3 ms",
        met=cost - inference <= 3,
    )


ROWS: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "float32": float32,
    "int8": int8,
    "grid": grid,
    "cold": cold,
    "startup": startup,
    "memory": memory,
    "latency": latency,
    "evaluate": evaluate,
    "padding": padding,
}
"""What `--only` takes; `grid` measures memory, too."""


def _export_grid(plan: Plan) -> tuple[float, float]:
    """Seconds and peak MiB of one export of the grid, from nothing, in an empty folder."""
    multipliers, resolutions = plan.grid
    # Not the default: fetching is nothing to measure here.
    command: list[str | Path] = [MNASNET, "export", "--weights", "random"]
    command += ["--jobs", str(PROCESSES)]
    command += [f"--{scheme}" for scheme in SCHEMES]
    command += ["--calibration-samples", str(plan.size.images)]
    if plan.grid == FULL.grid:
        command.append("--grid")
    else:
        command += [part for each in multipliers for part in ("--multiplier", str(each))]
        command += [part for each in resolutions for part in ("--res", str(each))]
    with tempfile.TemporaryDirectory() as folder:
        return run_watched(command, Path(folder))


def _memory_row(plan: Plan, peak_mib: float) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, HERE / "work.py", work.as_argument(plan.size), "float32"]
        _, theirs = run_watched(command, Path(folder))
    yield Row(
        work="peak memory of the grid's export, all its processes together",
        ours=f"{peak_mib:.0f} MiB",
        against=f"one TFLiteConverter conversion, float32 {plan.size}",
        theirs=f"{theirs:.0f} MiB",
        result=f"{peak_mib / theirs:.2f}x",
        reach="below it",
        met=peak_mib < theirs,
    )


def _scaled_to_grid(points: list[tuple[float, float]], plan: Plan) -> float:
    """Seconds of all rows, one after the other: a fixed part, and one in proportion to the MACs."""
    (macs_high, seconds_high), (macs_low, seconds_low) = points
    slope = (seconds_high - seconds_low) / (macs_high - macs_low)
    fixed = seconds_low - slope * macs_low
    return sum(
        fixed + slope * count_network(Size(multiplier, resolution).network).macs
        for multiplier in plan.grid[0]
        for resolution in plan.grid[1]
    )


def _write_photos(folder: Path, count: int) -> None:
    """Make as many JPEGs as asked for: seeded crops of the sample photos."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    for index in range(count):
        photo = photos[index % len(photos)]
        width, height = (int(side * generator.uniform(0.6, 1.0)) for side in photo.size)
        left = int(generator.integers(0, photo.width - width + 1))
        top = int(generator.integers(0, photo.height - height + 1))
        crop = photo.crop((left, top, left + width, top + height))
        crop.save(folder / f"{index:03}.jpg", quality=90)


def _write_labelled(folder: Path, count: int) -> None:
    """A folder of ten classes: ImageNet's usual size and quality, 128 photos and links to them."""
    generator = np.random.default_rng(0)
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    made: list[Path] = []
    for index in range(count):
        place = folder / str(index % 10)
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{index:05}.jpg"
        if len(made) == 128:
            path.hardlink_to(made[index % 128])
            continue
        photo = photos[index % len(photos)]
        width, height = (int(side * generator.uniform(0.7, 1.0)) for side in photo.size)
        crop = photo.crop((0, 0, width, height))
        crop.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=96)
        made.append(path)


def _median_interval(ordered: list[float]) -> tuple[float, float]:
    """Distribution-free interval of the median, 95 % or as near as the order statistics allow."""
    count = len(ordered)
    low = max(0, round(count / 2 - 0.98 * count**0.5) - 1)
    return ordered[low], ordered[count - 1 - low]


def _faster(ratio: float, wanted: float) -> dict[str, object]:
    return {
        "result": f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x",
        "reach": f"{wanted:g}x",
        "met": ratio >= wanted,
    }


def _seconds(value: float) -> str:
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.1f} s"
