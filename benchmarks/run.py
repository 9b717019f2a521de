"""How fast the tool itself is, against TensorFlow's converter: `make bench`.

    python benchmarks/run.py [--only ROW ...] [--quick]

Every ratio comes from one run on one machine that does nothing else; prints a Markdown table.
`--quick` measures small networks a few times: it shows that everything works, not how fast it is.
"""

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path

from measure import say
from phones import phones
from rows import FULL, QUICK, Row
from rows import ROWS as ON_THIS_MACHINE

ROWS = {**ON_THIS_MACHINE, "phones": phones}
PACKAGES = ("mnasnet-deploy", "ai-edge-litert", "tensorflow-cpu", "tensorflow", "numpy")


def main() -> int:
    """Measure the rows asked for and print their table; 1 where one falls short."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(ROWS), help="rows (repeatable)")
    parser.add_argument("--quick", action="store_true", help="small: a check, not a measurement")
    arguments = parser.parse_args()
    # The grid row brings the memory row along.
    names = arguments.only or [name for name in ROWS if name != "memory"]
    found: list[tuple[str, Row]] = []
    for name in names:
        say(f"{name} ...")
        start = time.perf_counter()
        found += [(name, row) for row in ROWS[name](QUICK if arguments.quick else FULL)]
        say(f"  {time.perf_counter() - start:.0f} s")
    sys.stdout.write(render(found, quick=arguments.quick))
    return 0 if all(row.met for _, row in found) or arguments.quick else 1


def render(rows: list[tuple[str, Row]], *, quick: bool) -> str:
    """The table in Markdown, with what it was measured on."""
    lines = [
        "| work | ours | against | theirs | ratio | reach | |",
        "| --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row.work} | {row.ours} | {row.against} | {row.theirs} | {row.result} | {row.reach} | "
        f"{'reached' if row.met else 'missed'} |"
        for _, row in rows
    ]
    limits = [f"- {row.work}: the limit is {row.limit}" for _, row in rows if row.limit]
    repeated = ", ".join(dict.fromkeys(f"`--only {name}`" for name, _ in rows))
    note = "Small networks, few runs (`--quick`): not a measurement. " if quick else ""
    text = "\n".join([*lines, "", *limits, *([""] if limits else [])])
    return (
        f"{text}\n{note}Measured on {machine()} by `python benchmarks/run.py`; one row again: "
        f"{repeated}.\n"
    )


def machine() -> str:
    """CPU, system and versions."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{cpu}, {os.cpu_count()} CPUs, {platform.system()}, {', '.join(versions)}"


if __name__ == "__main__":
    sys.exit(main())
