"""This machine as a device: real processes, real files, files that crash and hang included."""

import dataclasses
import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mnasnet_deploy
from mnasnet_deploy.bench import conditions, system
from mnasnet_deploy.bench.device import Device, Trial
from mnasnet_deploy.bench.host import Host
from mnasnet_deploy.errors import ModelFileError, NotReadyError

HOST = Host(patience_s=60.0, load_window_s=0.05)
IMPATIENT = Host(patience_s=1.0, load_window_s=0.05)
FAST = Trial(overhead_ms=0.0, run_ms=1.0, peak_memory_mib=None, delegated=True)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what only Linux says")


def test_the_host_is_a_device():
    device: Device = HOST
    assert device.info().kind == "host"


# ---- processes


@pytest.mark.processes
def test_a_launch_keeps_every_run(tiny_float32, quick):
    settings = dataclasses.replace(quick, runs=12, warmup_runs=3)
    timing = HOST.launch(tiny_float32, settings, FAST)
    assert timing.discarded == ""
    assert len(timing.samples_ms) == 12
    assert all(sample > 0 for sample in timing.samples_ms)
    assert timing.init_ms > 0
    assert timing.first_ms > 0
    assert timing.cpu_ms is not None
    assert timing.cpu_ms > 0


@pytest.mark.processes
@pytest.mark.slow
def test_a_launch_lasts_as_long_as_the_settings_ask(tiny_float32, quick):
    timing = HOST.launch(tiny_float32, dataclasses.replace(quick, min_ms=200.0), FAST)
    assert len(timing.samples_ms) > quick.runs
    assert sum(timing.samples_ms) > 100


@pytest.mark.processes
@pytest.mark.slow
def test_a_very_fast_file_does_not_fill_the_disk(handmade, quick):
    settings = dataclasses.replace(quick, min_ms=60_000.0)
    timing = HOST.launch(handmade / "foreign.tflite", settings, FAST)
    assert len(timing.samples_ms) == 20_000


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_trial_says_what_the_delegate_took(tiny_int8, quick, delegate):
    trial = HOST.trial(tiny_int8, dataclasses.replace(quick, delegate=delegate))
    assert trial.delegated
    said = [fact for fact in trial.facts if "XNNPACK took 1 part of the graph" in fact]
    assert bool(said) == (delegate == "xnnpack")


@linux
@pytest.mark.processes
@pytest.mark.slow
def test_peak_memory_is_the_workers_own_and_not_what_its_parent_held(tiny_float32, quick):
    """A parent's memory leaks into `ru_maxrss` of its children; it must not leak into a record."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mnasnet_deploy.bench.host import Host\n"
        "from mnasnet_deploy.results.record import Settings\n"
        "ballast = b'x' * 400_000_000\n"
        f"trial = Host().trial(Path(sys.argv[1]), Settings(**{dataclasses.asdict(quick)!r}))\n"
        "print(trial.peak_memory_mib, *trial.facts)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_float32], capture_output=True, text=True, check=True
    )
    peak_mib = float(done.stdout.split()[0])
    assert 10 < peak_mib < 300
    assert "before the file was loaded" in done.stdout


@pytest.mark.processes
def test_a_file_that_crashes_the_runtime_is_one_line(handmade, quick):
    with pytest.raises(ModelFileError) as caught:
        HOST.trial(handmade / "crashing.tflite", quick)
    message = str(caught.value)
    assert message.startswith("crashing.tflite crashed the runtime (")
    assert "\n" not in message
    if sys.platform == "linux":
        assert "(signal 11)" in message


@pytest.mark.processes
@pytest.mark.slow
def test_a_file_the_runtime_refuses_is_one_line_with_its_reason(handmade, quick):
    with pytest.raises(
        ModelFileError, match=r"refused\.tflite is refused by the runtime \(.*T"
    ) as (caught):
        HOST.trial(handmade / "refused.tflite", quick)
    assert "\n" not in str(caught.value)


@pytest.mark.processes
@pytest.mark.slow
def test_a_file_that_hangs_is_given_up(handmade, quick):
    with pytest.raises(ModelFileError, match=r"did not come back .*within 1 s.*--timeout"):
        IMPATIENT.trial(handmade / "hanging.tflite", quick)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "rule"), [("crashing", "CRASHED"), ("refused", "REFUSED"), ("hanging", "HUNG")]
)
def test_a_launch_that_ends_badly_is_a_voided_launch(handmade, quick, file, rule):
    host = IMPATIENT if rule == "HUNG" else HOST
    timing = host.launch(handmade / f"{file}.tflite", quick, FAST)
    assert timing.discarded.startswith(f"{rule} (")
    assert timing.samples_ms == ()


@pytest.mark.processes
@pytest.mark.slow
def test_a_worker_whose_parent_is_gone_ends_itself(handmade):
    request = {
        "mode": "trial", "model": str(handmade / "hanging.tflite"), "threads": 1,
        "delegate": "xnnpack", "cpus": [], "deadline_s": 0.5,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "mnasnet_deploy.bench.worker"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode < 0


@linux
@pytest.mark.processes
@pytest.mark.slow
def test_a_launch_runs_on_the_cpus_it_was_pinned_to(tiny_float32, quick):
    cpu = max(system.allowed_cpus())
    timing = HOST.launch(tiny_float32, dataclasses.replace(quick, cpus=(cpu,)), FAST)
    assert timing.discarded == ""


@pytest.mark.processes
@pytest.mark.slow
def test_the_worker_is_light(tmp_path):
    """Whatever it imports adds to the memory and the start of what is measured."""
    code = (
        "import json, sys\n"
        "import mnasnet_deploy.bench.worker\n"
        "print(json.dumps([name for name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout)
    ours = {name for name in loaded if name.startswith("mnasnet_deploy")}
    assert ours == {
        "mnasnet_deploy", "mnasnet_deploy.errors", "mnasnet_deploy.bench",
        "mnasnet_deploy.bench.system", "mnasnet_deploy.bench.worker", "mnasnet_deploy.locking",
    }  # fmt: skip
    assert not {"numpy", "typer", "rich", "yaml"} & set(loaded)


@pytest.mark.processes
@pytest.mark.slow
def test_a_module_in_the_users_folder_is_not_taken_for_ours(
    tiny_float32, quick, tmp_path, monkeypatch
):
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert HOST.trial(tiny_float32, quick).run_ms > 0


@pytest.mark.processes
@pytest.mark.slow
def test_a_path_relative_to_the_users_folder_is_found(tiny_float32, quick, monkeypatch):
    monkeypatch.chdir(tiny_float32.parent)
    assert HOST.trial(Path(tiny_float32.name), quick).run_ms > 0


@pytest.mark.processes
@pytest.mark.slow
def test_a_runtime_that_does_not_load_is_the_machines_fault(
    tiny_float32, quick, tmp_path, monkeypatch
):
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text("raise ImportError('libfoo.so')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(NotReadyError, match=r"libfoo\.so"):
        HOST.trial(tiny_float32, quick)


@pytest.mark.processes
def test_a_process_that_cannot_be_started_is_the_machines_fault(tiny_float32, quick, monkeypatch):
    monkeypatch.setattr(sys, "executable", "no/such/python")
    with pytest.raises(NotReadyError, match="cannot start a process"):
        HOST.trial(tiny_float32, quick)


# ---- what the machine says of itself


def _tree(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture
def laptop(tmp_path):
    """The files of a laptop with two CPUs, one of them limited by its governor."""
    clocks = "sys/devices/system/cpu/cpu{}/cpufreq/"
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-8650U\n"
        "cpu MHz\t\t: 1900.000\n\nprocessor\t: 1\nmodel name\t: Intel(R) Core(TM) i7-8650U\n",
        "proc/stat": "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n",
        "sys/class/thermal/thermal_zone0/temp": "41000\n",
        "sys/class/thermal/thermal_zone1/temp": "-274000\n",
        "sys/class/hwmon/hwmon0/temp1_input": "63500\n",
        "sys/class/hwmon/hwmon1/temp1_input": "65261850\n",
    }
    for cpu, limit in ((0, "4200000"), (1, "2800000")):
        files |= {
            clocks.format(cpu) + "scaling_cur_freq": "1800000\n",
            clocks.format(cpu) + "scaling_max_freq": limit,
            clocks.format(cpu) + "cpuinfo_max_freq": "4200000\n",
            clocks.format(cpu) + "scaling_governor": "powersave\n",
        }
    return _tree(tmp_path / "laptop", files)


@linux
def test_clocks_governor_and_the_hottest_plausible_sensor_are_read(laptop):
    state = conditions.read_conditions([0, 1], laptop, window_s=0.0)
    assert (state.clock_mhz, state.clock_limit_mhz, state.clock_max_mhz) == (1800, 4200, 4200)
    assert state.governor == "powersave"
    assert state.temperature_c == 63.5
    assert conditions.device_info(laptop).name == "Intel(R) Core(TM) i7-8650U"


@linux
def test_only_the_cpus_used_count(laptop):
    assert conditions.read_conditions([1], laptop, window_s=0.0).clock_limit_mhz == 2800


@linux
def test_time_is_busy_unless_it_is_idle_or_waits_for_a_disk(laptop, tmp_path):
    found = conditions.cpu_times(laptop)
    assert found is not None
    assert found.busy_s / found.total_s == pytest.approx(150 / 1000)
    assert conditions.cpu_times(tmp_path / "empty") is None


@pytest.mark.processes  # the standard library asks `uname`
def test_a_machine_that_says_nothing_gives_none_and_not_an_error(tmp_path):
    state = conditions.read_conditions([0, 1], tmp_path, window_s=0.0)
    silent = dataclasses.replace(state, time="")
    assert silent == type(state)(time="")
    info = conditions.device_info(tmp_path)
    assert info.name
    assert info.os


def test_a_board_without_a_processor_name_goes_by_its_own(tmp_path):
    root = _tree(tmp_path, {
        "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nCPU part\t: 0xd08\n",
        "sys/firmware/devicetree/base/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    })  # fmt: skip
    assert conditions.device_info(root).cpu == "Raspberry Pi 4 Model B Rev 1.4"


def test_this_machine_describes_itself(quick):
    info = HOST.info()
    assert info.runtime == f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"
    assert info.cores >= 1
    assert info.name
    assert info.memory_mib > 0 or sys.platform == "win32"
    state = HOST.conditions(quick)
    if sys.platform == "linux":
        assert state.load is not None
        assert 0 <= state.load <= 1


@linux
@pytest.mark.processes
@pytest.mark.slow
def test_a_limit_that_changes_during_a_launch_voids_it(tiny_float32, quick, laptop):
    cpus = laptop / "sys/devices/system/cpu"
    for cpu in system.allowed_cpus() - {0}:
        shutil.copytree(cpus / "cpu0", cpus / f"cpu{cpu}", dirs_exist_ok=True)

    class Throttled(Host):
        def _ask(self, *request):
            for limit in cpus.glob("cpu*/cpufreq/scaling_max_freq"):
                limit.write_text("1600000")
            return super()._ask(*request)

    timing = Throttled(root=laptop).launch(tiny_float32, quick, FAST)
    assert timing.discarded == "CLOCK-CHANGED (the limit went from 4200.0 to 1600.0 MHz)"
    assert timing.samples_ms


def test_the_child_imports_the_package_that_started_it():
    import mnasnet_deploy.bench.host as host

    assert Path(mnasnet_deploy.__file__).parents[1] == host._IMPORT_FOLDER
