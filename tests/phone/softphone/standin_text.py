"""What `benchmark_model` prints, by version."""

import math
import os
import sys
from collections.abc import Sequence

from softphone.standin_flags import Flags

NOTE = (
    "Note: as the benchmark tool itself affects memory footprint, the following is only "
    "APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at "
    "your discretion."
)
_KERNEL = {"GPU": "TfLiteGpuDelegateV2", "NNAPI": "TfLiteNnapiDelegate",
           "XNNPACK": "TfLiteXNNPackDelegate", "EXTERNAL": "TfLiteExternalDelegate",
           "NPU": "DispatchDelegate"}  # fmt: skip


def six(value: float) -> str:
    """A double as C++ streams print it: six significant digits."""
    return f"{value:g}"


class Stat:
    """Statistics of a stage's times in µs, as the tool computes them."""

    def __init__(self, samples: Sequence[int]) -> None:
        self.samples = list(samples)
        self.count = len(samples)
        self.average = sum(samples) / len(samples) if samples else 0.0

    @property
    def deviation(self) -> float:
        """Of the population."""
        if not self.samples:
            return 0.0
        return math.sqrt(sum((s - self.average) ** 2 for s in self.samples) / self.count)

    def percentile(self, percent: int) -> int:
        """The tool's own rule: the value at that share of the sorted samples."""
        ordered = sorted(self.samples)
        return ordered[min(self.count - 1, int(percent / 100 * self.count))]

    def line(self, *, percentiles: bool) -> str:
        """The `count=` line."""
        first, last = (self.samples[0], self.samples[-1]) if self.samples else (0, 0)
        if not self.count:
            return "count=0"
        if min(self.samples) == max(self.samples):
            text = f"count={self.count} curr={last}" + ("(all same)" if self.count > 1 else "")
        else:
            text = (
                f"count={self.count} first={first} curr={last} min={min(self.samples)} "
                f"max={max(self.samples)} avg={six(self.average)} std={int(self.deviation)}"
            )
        if percentiles:
            low, middle, high = (self.percentile(p) for p in (5, 50, 95))
            text += f" p5={low} median={middle} p95={high}"
        return text


class Report:
    """The output of one run.

    Args:
        form: tf-2.3, tf-2.12, tf-2.19 or litert.
    """

    def __init__(self, form: str) -> None:
        self.form = form
        self._prefixed = form in ("tf-2.12", "tf-2.19", "litert")
        self._percentiles = form in ("tf-2.19", "litert")

    def info(self, text: str) -> None:
        """A line of the tool, on standard output."""
        print(("INFO: " if self._prefixed else "") + text, flush=True)

    def error(self, text: str) -> None:
        """An error of the tool, on standard error."""
        print(("ERROR: " if self._prefixed else "") + text, file=sys.stderr, flush=True)

    def fatal(self, text: str) -> None:
        """The tool's last words: it aborts."""
        print(("FATAL: " if self._prefixed else "") + text, file=sys.stderr, flush=True)
        os.abort()

    def runtime(self, level: str, text: str) -> None:
        """A line of the runtime, on standard error, always with its level."""
        print(f"{level}: {text}", file=sys.stderr, flush=True)

    def parameters(self, flags: Flags, unconsumed: Sequence[str]) -> None:
        """The echo of the flags."""
        if unconsumed:
            text = f"Unconsumed cmdline flags: {' '.join(unconsumed)}"
            print(("WARN: " if self._prefixed else "") + text, flush=True)
        everything = self.form == "tf-2.3"
        if not everything:
            self.info("Log parameter values verbosely: [0]")
        for name, label in flags.labels.items():
            shown = everything or name in flags.given or name == "graph"
            if name == "signature_to_run_for" and self.form == "tf-2.19":
                shown = True
            if label and shown:
                value = flags.values[name]
                text = str(int(value)) if isinstance(value, bool) else (
                    six(value) if isinstance(value, float) else str(value)
                )  # fmt: skip
                colon = " :" if everything and name.startswith(("use_", "gpu_", "allow_")) else ":"
                self.info(f"{label}{colon} [{text}]")

    def model(self, graph: str) -> None:
        """The model file is read."""
        if self.form == "litert":
            self.litert(
                137, f"Loading model from: {graph}", "litert/tools/benchmark_litert_model.cc"
            )
        else:
            self.info(f"Loaded model {graph}")
        self.runtime("INFO", "Initialized TensorFlow Lite runtime.")

    def litert(
        self, line: int, text: str, file: str = "./litert/tools/benchmark_litert_model.h"
    ) -> None:
        """A line of the LiteRT logger, on standard error."""
        print(f"INFO: [{file}:{line}] {text}", file=sys.stderr, flush=True)

    def delegate(self, name: str, explicit: bool, taken: int, nodes: int, kernels: int) -> None:
        """What took which part of the graph."""
        made = " for CPU" if name == "XNNPACK" else ""
        if name in ("GPU", "NNAPI"):
            self.runtime("INFO", f"Created TensorFlow Lite delegate for {name}.")
        elif name == "XNNPACK":
            self.runtime("INFO", f"Created TensorFlow Lite XNNPACK delegate{made}.")
        if explicit and self.form in ("tf-2.12", "tf-2.19"):
            self.info(f"{name} delegate created.")
        if taken:
            whole = {"tf-2.12": " for the whole graph.", "tf-2.3": "."}.get(
                self.form, f" for subgraph 0{' (main)' if self.form == 'litert' else ''}."
            )
            of = "" if self.form == "tf-2.3" else f" out of {nodes}"
            self.runtime(
                "VERBOSE",
                f"Replacing {taken}{of} node(s) with delegate ({_KERNEL[name]}) node, yielding "
                f"{2 * kernels - 1 if taken < nodes else 1} partitions{whole}",
            )
        if name == "GPU" and taken:
            self.runtime("INFO", "Initialized OpenCL-based API.")
            self.runtime("INFO", f"Created {kernels} GPU delegate kernels.")
        if not explicit or self.form == "litert":
            return
        if self.form == "tf-2.3":
            how = "completely" if taken == nodes else "partially"
            if taken:
                self.info(
                    f"Applied {name} delegate, and the model graph will be {how} executed w/ the "
                    "delegate."
                )
        elif taken == nodes:
            self.info(
                f"Explicitly applied {name} delegate, and the model graph will be completely "
                "executed by the delegate."
            )
        elif taken:
            self.info(
                f"Explicitly applied {name} delegate, and the model graph will be partially "
                f"executed by the delegate w/ {kernels} delegate kernels."
            )
        else:
            self.info(
                f"Though {name} delegate is explicitly applied, the model graph will not be "
                "executed by the delegate."
            )

    def refused(self, name: str, nodes: int) -> None:
        """Why a delegate does not work."""
        if name in ("GPU", "NNAPI"):
            self.runtime("INFO", f"Created TensorFlow Lite delegate for {name}.")
        if name == "GPU":
            self.runtime("ERROR", "TfLiteGpuDelegate Init: No shader implementation for transpose")
            self.runtime("ERROR", "TfLiteGpuDelegate Prepare: delegate is not initialized")
        elif name == "NNAPI":
            self.runtime(
                "ERROR",
                "NN API returned error ANEURALNETWORKS_OP_FAILED at line 3779 while completing "
                "NNAPI compilation.",
            )
        self.runtime("ERROR", f"Node number {nodes} ({_KERNEL[name]}) failed to prepare.")
        self.runtime(
            "ERROR", "Restored original execution plan after delegate application failure."
        )

    def loaded(self, size: int, init_us: int) -> None:
        """Size of the model and time to set up."""
        self.info(f"The input model file size (MB): {six(size / 1e6)}")
        self.info(f"Initialized session in {six(init_us / 1e3)}ms.")

    def stage(
        self, runs: int, seconds: float, flags: Flags, *, announce_only: bool = False
    ) -> None:
        """A stage begins; where nothing is run, it ends at once."""
        self.info(
            f"Running benchmark for at least {runs} iterations and at least {six(seconds)} seconds "
            f"but terminate if exceeding {six(flags.number('max_secs'))} seconds."
        )
        if not announce_only:
            self.stat(Stat([]))

    def stat(self, stat: Stat) -> None:
        """A stage's statistics, and the empty line behind them."""
        self.info(stat.line(percentiles=self._percentiles))
        print(flush=True)

    def summary(
        self, init_us: int, warmup: Stat, timed: Stat, init_kib: int, overall_kib: int, size: int,
        flags: Flags,
    ) -> None:  # fmt: skip
        """The result."""
        if self.form == "litert":
            self._results(init_us, warmup, timed, init_kib, overall_kib, size)
            return
        first = warmup.samples[0] if warmup.samples else 0
        self.info(
            f"Inference timings in us: Init: {init_us}, First inference: {first}, "
            f"Warmup (avg): {six(warmup.average)}, Inference (avg): {six(timed.average)}"
        )
        self.info(NOTE)
        words = (
            "Peak memory footprint (MB)"
            if self.form == "tf-2.3"
            else "Memory footprint delta from the start of the tool (MB)"
        )
        self.info(f"{words}: init={six(init_kib / 1024)} overall={six(overall_kib / 1024)}")
        if flags.on("report_peak_memory_footprint"):
            peak = six(overall_kib / 1024)
            self.info(f"Overall peak memory footprint (MB) via periodic monitoring: {peak}")
            self.info("Memory status at the end of exeution:")
            mib = overall_kib // 1024
            for label, value in (
                ("- VmRSS              ", mib),
                ("+ RssAnnon           ", mib // 2),
                ("+ RssFile + RssShmem ", mib - mib // 2),
            ):
                self.info(f"{label}: {value} MB")

    def _results(
        self, init_us: int, warmup: Stat, timed: Stat, init_kib: int, overall_kib: int, size: int
    ) -> None:
        first = warmup.samples[0] if warmup.samples else 0
        lines = [
            (72, "\n========== BENCHMARK RESULTS =========="),
            (73, f"Model initialization: {init_us / 1e3:.2f} ms"),
            (75, f"Warmup (first):       {first / 1e3:.2f} ms"),
            (77, f"Warmup (avg):         {warmup.average / 1e3:.2f} ms ({warmup.count} runs)"),
        ]
        if timed.count:
            lines += [
                (79, f"Inference (avg):      {timed.average / 1e3:.2f} ms ({timed.count} runs)"),
                (83, f"Inference (min):      {min(timed.samples) / 1e3:.2f} ms"),
                (85, f"Inference (max):      {max(timed.samples) / 1e3:.2f} ms"),
                (87, f"Inference (std):      {timed.deviation / 1e3:.2f}"),
            ]
        lines += [
            (103, "\nMemory Usage:"),
            (105, f"Init footprint:       {init_kib / 1024:.2f} MB"),
            (107, f"Overall footprint:    {overall_kib / 1024:.2f} MB"),
            (114, "Peak memory usage not available. (peak_mem_mb <= 0)"),
            (117, "======================================\n"),
        ]
        for number, text in lines:
            self.litert(number, text)

    def profile(
        self, operators: Sequence[tuple[str, str, float]], timed: Stat, init_us: int
    ) -> None:
        """The operator tables of the measured stage, behind those of setting up."""
        if self.form != "litert":
            self.info("Profiling Info for Benchmark Initialization:")
            self._tables([("AllocateTensors", "AllocateTensors/0", init_us / 1e3)], 1)
            self.info("Operator-wise Profiling Info for Regular Benchmark Runs:")
        ms = timed.average / 1e3
        rows = [
            (kind, f"[{name}]:{number}", share * ms)
            for number, (kind, name, share) in enumerate(operators)
        ]
        self._tables(rows, timed.count)

    def _tables(self, rows: Sequence[tuple[str, str, float]], count: int) -> None:
        start = self.form == "tf-2.3"
        width = 24 if start else 40
        total = sum(ms for _, _, ms in rows) or 1.0

        def table(title: str, chosen: Sequence[tuple[str, str, float]]) -> None:
            print(f"{'=' * 30} {title} {'=' * 30}")
            heads = [("[node type]", width), *([("[start]", 17)] if start else []),
                     ("[first]", 9), ("[avg ms]", 9), ("[%]", 8), ("[cdf%]", 8), ("[mem KB]", 10),
                     ("[times called]", 9)]  # fmt: skip
            print("".join("\t" + text.rjust(w) for text, w in heads) + "\t[Name]")
            summed = 0.0
            for kind, name, ms in chosen:
                begin = ["\t" + f"{summed:.3f}".rjust(17)] if start else []
                summed += ms
                cells = [f"{ms:.3f}".rjust(9)] * 2
                cells += [f"{100 * part / total:.3f}%".rjust(8) for part in (ms, summed)]
                cells += ["0.000".rjust(10), "1".rjust(9)]
                print(
                    "\t"
                    + kind.rjust(width)
                    + "".join(begin)
                    + "".join("\t" + c for c in cells)
                    + "\t"
                    + name
                )
            print()

        table("Run Order", rows)
        table("Top by Computation Time", sorted(rows, key=lambda row: -row[2])[:10])
        print(f"Number of nodes executed: {len(rows)}")
        print(f"{'=' * 30} Summary by node type {'=' * 30}")
        heads = [("[Node type]", width), ("[count]", 9), ("[avg ms]", 10), ("[avg %]", 11),
                 ("[cdf %]", 11), ("[mem KB]", 10), ("[times called]", 9)]  # fmt: skip
        print("".join("\t" + text.rjust(w) for text, w in heads))
        kinds: dict[str, list[float]] = {}
        for kind, _, ms in rows:
            kinds.setdefault(kind, []).append(ms)
        summed = 0.0
        for kind, values in sorted(kinds.items(), key=lambda item: -sum(item[1])):
            ms = sum(values)
            summed += ms
            cells = [str(len(values)).rjust(9), f"{ms:.3f}".rjust(10)]
            cells += [f"{100 * part / total:.3f}%".rjust(11) for part in (ms, summed)]
            cells += ["0.000".rjust(10), str(len(values)).rjust(9)]
            print("\t" + kind.rjust(width) + "".join("\t" + cell for cell in cells))
        print(f"\nTimings (microseconds): count={count} curr={int(total * 1e3)}")
        print("Memory (bytes): count=0")
        print(f"{len(rows)} nodes observed\n\n\n", flush=True)
