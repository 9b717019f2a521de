"""Runs a model with LiteRT on this computer and speaks as `benchmark_model` does on a phone.

The model, the times, the memory and the outputs are real; which delegate ran is said, not done:
everything runs on this computer's CPU. A slower core of the phone, or a lower clock, is slower here
by the same share. Operator times share the measured time of a run by the size of each operator.

Faults (`on="benchmark"`): `after` counts finished inferences of the measured stage, negative ones
mean before the model is loaded.
    crash 139, abort 134, kill 137, hang, exit (`code`), empty, garbage (`stdout`), no-result (the
    output ends before the summary), warn (an unknown flag `text`), refuse (the delegate fails),
    partial (the delegate takes half), fallback (it takes nothing), invoke-error, wrong-output,
    linker, slow (by `factor`), nothing (only writes files), and all device-wide actions of `faults`
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softphone import jail
from softphone.faults import Fault, Faults
from softphone.models import PHONES
from softphone.standin_flags import BadFlag, Flags, parse
from softphone.standin_text import Report, Stat
from softphone.wire import Gone
from softphone.world import World

STATE = Path("/.phone")
SIGNALS = {"crash": signal.SIGSEGV, "abort": signal.SIGABRT, "kill": signal.SIGKILL}
COLOURS = ("warn", "refuse", "partial", "fallback", "slow", "no-result", "wrong-output")
"""Faults that show in what is printed or measured, and end nothing."""


class Daemon:
    """The phone's daemon, as its programs reach it."""

    def command(self, request: Mapping[str, Any]) -> None:
        """Ask for a device-wide action."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
            control.sendto(json.dumps(dict(request)).encode(), str(STATE / "control"))
        time.sleep(0.05)


def main(form: str, arguments: Sequence[str]) -> int:
    """Run; returns the exit code."""
    jail.set_name("benchmark_model")
    faults = Faults(STATE, Daemon())
    fault = faults.fire("benchmark", " ".join(arguments))
    report = Report(form)
    try:
        flags = parse(form, arguments[1:])
    except BadFlag as error:
        report.error(str(error))
        return 1
    run = Run(form, flags, report, faults, fault, arguments[0])
    return run.run()


class Failed(Exception):
    """The tool reports an error and ends in 1."""


class Run:
    """One run of the tool."""

    def __init__(
        self,
        form: str,
        flags: Flags,
        report: Report,
        faults: Faults,
        fault: Fault | None,
        name: str,
    ) -> None:
        self._form = form
        self._flags = flags
        self._report = report
        self._faults = faults
        self._fault = fault
        self._name = name
        phone = PHONES[(STATE / "model").read_text()]
        self._world = World(Path("/"), phone)
        self._mask = int(os.environ.get("PHONE_MASK") or (STATE / "online_mask").read_text(), 16)
        self._finished = 0
        self._failed_invokes = 0
        self._struck = False

    def _does(self, what: str) -> bool:
        return self._fault is not None and self._fault.do == what

    def run(self) -> int:
        """To the end, or to the fault."""
        if self._does("linker"):
            print(
                f'CANNOT LINK EXECUTABLE "{self._name}": library "libc++_shared.so" not found: '
                "needed by main executable",
                file=sys.stderr,
            )
            return 1
        if self._does("empty"):
            return self._fault.code if self._fault else 0
        if self._does("garbage"):
            text = self._fault.stdout if self._fault else ""
            sys.stdout.buffer.write(text.encode("latin-1") or bytes(range(256)) * 8)
            return 0
        if self._fault and self._fault.after < 0:
            self._strike()
        try:
            self._benchmark()
        except Failed as error:
            for line in str(error).splitlines():
                self._report.error(line)
            if self._form != "litert":
                self._report.error("Benchmarking failed.")
            return 1
        return 1 if self._failed_invokes else 0

    def _benchmark(self) -> None:
        flags, report = self._flags, self._report
        report.info("STARTING!")
        unconsumed = list(flags.unconsumed)
        if self._does("warn") and self._fault:
            unconsumed.append(self._fault.text or "--use_xnnpack=true")
        report.parameters(flags, unconsumed)
        graph = flags.text("graph")
        if not graph:
            raise Failed("Please specify the name of your TF Lite input file with --graph")
        size = Path(graph).stat().st_size if Path(graph).is_file() else 0
        # A program has its runtime linked in: loading it is no part of setting up a model.
        from ai_edge_litert import interpreter as _  # noqa: F401

        memory = _rss_kib()
        started = time.monotonic()
        interpreter = self._load(graph)
        init_us = int((time.monotonic() - started) * 1e6)
        init_kib = _rss_kib() - memory
        report.loaded(size, init_us)
        self._feed(interpreter)
        if flags.on("dry_run"):
            warmup, timed = report.stage(0, -1.0, flags), report.stage(0, -1.0, flags)
            del warmup, timed
            return
        self._world.started(self._mask, max(1, int(flags.number("num_threads"))))
        try:
            warmup = self._stage(interpreter, "warmup_runs", "warmup_min_secs", measured=False)
            timed = self._stage(interpreter, "num_runs", "min_secs", measured=True)
        finally:
            self._world.stopped()
        if self._does("no-result"):
            sys.stdout.flush()
            os._exit(0)
        overall_kib = _rss_kib() - memory
        self._save_outputs(interpreter)
        report.summary(init_us, warmup, timed, init_kib, overall_kib, size, flags)
        if flags.on("enable_op_profiling") or flags.on("use_profiler"):
            report.profile(_operators(interpreter), timed, init_us)
        if self._failed_invokes:
            report.error("Benchmarking failed.")

    # -- loading

    def _load(self, graph: str) -> Any:
        path = Path(graph)
        if not path.is_file():
            old = "Failed to mmap model" if self._form == "tf-2.3" else "Failed to load model"
            self._report.runtime("ERROR", f"Could not open '{graph}'.")
            raise Failed(f"{old} {graph}")
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        plain = "use_xnnpack" in self._flags.given and not self._flags.on("use_xnnpack")
        accelerated = self._accelerator()
        resolver = (
            OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
        )
        threads = int(self._flags.number("num_threads"))
        with _stderr_away():
            try:
                interpreter = Interpreter(
                    model_path=graph,
                    num_threads=None if threads < 1 else min(threads, 64),
                    experimental_op_resolver_type=resolver,
                )
            except (ValueError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[0]
                raise Failed(f"{reason}\nFailed to load model {graph}") from error
            self._report.model(graph)
            nodes = len(interpreter._get_ops_details())
            self._delegate(accelerated, plain, nodes)
            try:
                interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise Failed("Failed to allocate tensors!") from error
        return interpreter

    def _accelerator(self) -> str:
        for flag, name in (("use_gpu", "GPU"), ("use_nnapi", "NNAPI"), ("use_npu", "NPU")):
            if self._flags.on(flag):
                return name
        if self._flags.text("external_delegate_path"):
            return "EXTERNAL"
        return ""

    def _delegate(self, name: str, plain: bool, nodes: int) -> None:
        """Say what would run where."""
        if not name and plain:
            if self._flags.on("require_full_delegation"):
                raise Failed("Disallowed CPU fallback detected.")
            return
        chosen = name or "XNNPACK"
        explicit = bool(name) or "use_xnnpack" in self._flags.given
        if self._does("refuse"):
            self._report.refused(chosen, nodes)
            raise Failed(f"Failed to apply {chosen} delegate.")
        taken, kernels = nodes, 1
        if self._does("partial"):
            taken, kernels = nodes // 2, 3
        elif self._does("fallback"):
            taken, kernels = 0, 0
        self._report.delegate(chosen, explicit, taken, nodes, kernels)
        if taken < nodes and self._flags.on("require_full_delegation"):
            raise Failed("Disallowed CPU fallback detected.")

    def _feed(self, interpreter: Any) -> None:
        import numpy as np

        flags = self._flags
        files = {}
        for item in filter(None, flags.text("input_layer_value_files").split(",")):
            layer, _, path = item.replace("::", "\0").partition(":")
            files[layer.replace("\0", ":")] = path.replace("\0", ":")
        names = list(filter(None, flags.text("input_layer").split(",")))
        shapes = list(filter(None, flags.text("input_layer_shape").split(":")))
        if len(names) != len(shapes):
            raise Failed(
                f"The number of items in --input_layer_shape ({flags.text('input_layer_shape')}, "
                f"with {len(shapes)} items) must match the number of items in --input_layer "
                f"({flags.text('input_layer')}, with {len(names)} items)."
            )
        for layer in files:
            if layer not in names:
                self._report.fatal(
                    f"Cannot find the corresponding input_layer name({layer}) in --input_layer as "
                    f"{flags.text('input_layer')}"
                )
        generator = np.random.default_rng()
        for number, taken in enumerate(interpreter.get_input_details()):
            shape, kind = taken["shape"], np.dtype(taken["dtype"])
            path = files.get(names[number]) if number < len(names) else None
            if path:
                try:
                    content = Path(path).read_bytes()
                except OSError:
                    self._report.fatal(f"Failed to read the input_layer_value_file:{path}")
                wanted = int(np.prod(shape)) * kind.itemsize
                if len(content) != wanted:
                    self._report.fatal(
                        f"The size of {path} is {len(content)} bytes. It should be {wanted} bytes."
                    )
                data = np.frombuffer(content, kind).reshape(shape)
            elif kind.kind == "f":
                data = generator.random(shape, np.float32).astype(kind) - kind.type(0.5)
            else:
                data = generator.integers(0, 100, shape).astype(kind)
            interpreter.set_tensor(taken["index"], data)

    # -- timing

    def _stage(self, interpreter: Any, runs: str, seconds: str, *, measured: bool) -> Stat:
        flags = self._flags
        least, enough, most = (
            int(flags.number(runs)),
            flags.number(seconds),
            flags.number("max_secs"),
        )
        self._report.stage(least, enough, flags, announce_only=True)
        speed = self._world.speed(self._mask)
        if self._does("slow") and self._fault:
            speed /= self._fault.factor
        began = time.monotonic()
        now = began
        samples: list[int] = []
        while (len(samples) < least or now < began + enough) and now <= began + most:
            start = time.monotonic()
            interpreter.invoke()
            if speed < 1.0:
                time.sleep((time.monotonic() - start) * (1.0 / speed - 1.0))
            now = time.monotonic()
            samples.append(int((now - start) * 1e6))
            if measured:
                self._finished += 1
                if self._fault and self._fault.after >= 0 and self._finished > self._fault.after:
                    self._strike()
                    speed = self._world.speed(self._mask)
            if flags.number("run_delay") > 0:
                time.sleep(flags.number("run_delay"))
                now = time.monotonic()
        stat = Stat(samples)
        self._report.stat(stat)
        return stat

    def _strike(self) -> None:
        """The moment of the fault; those that only colour the output go on."""
        fault = self._fault
        if fault is None:
            return
        if fault.do == "invoke-error":
            self._failed_invokes += 1
            self._report.runtime("ERROR", "Node number 3 (CONV_2D) failed to invoke.")
            return
        if not self._struck:
            self._struck = True
            self._faults.write(fault)
        if fault.do in COLOURS:
            return
        self._fault = None
        sys.stdout.flush()
        if number := SIGNALS.get(fault.do):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.kill(os.getpid(), number)
        elif fault.do == "hang":
            time.sleep(1e6)
        elif fault.do == "exit":
            os._exit(fault.code)
        elif fault.do != "nothing":
            with contextlib.suppress(Gone):
                self._faults.act(fault)

    def _save_outputs(self, interpreter: Any) -> None:
        path = self._flags.text("output_filepath")
        if not path:
            return
        content = b"".join(
            interpreter.get_tensor(given["index"]).tobytes()
            for given in interpreter.get_output_details()
        )
        if self._does("wrong-output"):
            content = content[::-1]
        with contextlib.suppress(OSError):
            Path(path).write_bytes(content)


def _rss_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def _stderr_away() -> Any:
    """The runtime of this computer prints its own lines; a phone's lines are ours to print."""
    sys.stdout.flush()
    kept = os.dup(2)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    stream, sys.stderr = sys.stderr, os.fdopen(os.dup(kept), "w")
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr.close()
        sys.stderr = stream
        os.dup2(kept, 2)
        os.close(kept)
        os.close(quiet)


def _operators(interpreter: Any) -> list[tuple[str, str, float]]:
    """Type, output's name and share of the work of every operator, in order."""
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    found = []
    for op in interpreter._get_ops_details():
        if op["op_name"] == "DELEGATE":
            continue
        shapes = [tensors[i]["shape"] for i in op["inputs"] if i in tensors]
        output = tensors[op["outputs"][0]]
        elements = 1
        for side in output["shape"]:
            elements *= int(side)
        work = float(elements)
        if op["op_name"] in ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D") and len(shapes) > 1:
            inner = 1
            for side in shapes[1][1:] if op["op_name"] != "DEPTHWISE_CONV_2D" else shapes[1][1:3]:
                inner *= int(side)
            work *= inner
        found.append((op["op_name"], output["name"], work))
    total = sum(work for _, _, work in found) or 1.0
    return [(kind, name, work / total) for kind, name, work in found]
