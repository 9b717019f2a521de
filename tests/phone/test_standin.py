"""The stand-in runs real models on the phone, says what `benchmark_model` says, and fails so."""

import re

import pytest
from softphone.faults import Fault
from softphone.rig import FORMATS

pytestmark = [pytest.mark.processes, pytest.mark.slow]

FAST = "--num_runs=5 --min_secs=0 --warmup_runs=1 --warmup_min_secs=0"
HERE = "cd /data/local/tmp;"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    from mnasnet_deploy.cli.main import main

    folder = tmp_path_factory.mktemp("models")
    arguments = "export --variant a1 --multiplier 0.35 --res 32 --classes 10 --float32 --out"
    assert main([*arguments.split(), str(folder)]) == 0
    return next(folder.glob("*.tflite"))


@pytest.fixture
def bench(phone_rig, model):
    """`bench(phone, "--flag=..")` pushes what is needed once and runs it."""
    ready = set()

    def run(phone, flags="", form="tf-2.19", before=""):
        if (phone.serial, form) not in ready:
            binary = phone_rig.benchmark_binary(form)
            for source, name in ((binary, "benchmark_model"), (model, "m.tflite")):
                target = f"/data/local/tmp/{name}"
                assert phone_rig.adb("-s", phone.serial, "push", source, target).code == 0
            ready.add((phone.serial, form))
        command = f"{HERE} {before} ./benchmark_model --graph=m.tflite {flags} {FAST} 2>&1"
        return phone_rig.adb("-s", phone.serial, "shell", f"{command}; echo @@RC=$?").out.decode(
            errors="replace"
        )

    return run


@pytest.mark.parametrize("form", FORMATS)
def test_a_model_runs_in_every_format(bench, software_phone, form):
    text = bench(software_phone, form=form)
    assert text.endswith("@@RC=0\n"), text
    stages = re.findall(r"^(?:INFO: )?count=(\d+)", text, flags=re.MULTILINE)
    assert stages == ["1", "5"]
    assert (" p5=" in text) == (form in ("tf-2.19", "litert"))
    assert ("Inference timings in us" in text) == (form != "litert")


def test_it_gives_the_output_of_the_model(bench, software_phone, phone_rig, model, tmp_path):
    import numpy as np

    from mnasnet_deploy.export.runtime import new_interpreter

    interpreter = new_interpreter(path=model)
    taken = interpreter.get_input_details()[0]
    image = np.random.default_rng(3).random(taken["shape"], np.float32) * 255
    (tmp_path / "image").write_bytes(image.tobytes())
    serial = software_phone.serial
    phone_rig.adb("-s", serial, "push", tmp_path / "image", "/data/local/tmp/image")
    flags = (
        "--input_layer=input --input_layer_shape=1,32,32,3 "
        "--input_layer_value_files=input:image --output_filepath=out"
    )
    assert bench(software_phone, flags).endswith("@@RC=0\n")
    phone_rig.adb("-s", serial, "pull", "/data/local/tmp/out", tmp_path / "out")
    interpreter.set_tensor(taken["index"], image)
    interpreter.invoke()
    wanted = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.allclose(
        np.frombuffer((tmp_path / "out").read_bytes(), np.float32), wanted, atol=1e-4
    )


def test_the_clock_of_the_used_cluster_shows_it(bench, software_phone):
    path = "sys/devices/system/cpu/cpufreq/policy8/stats/time_in_state"
    before = software_phone.read(path).splitlines()
    bench(software_phone, "--min_secs=0.3", before="taskset 100")
    after = software_phone.read(path).splitlines()
    at_most = [int(lines[-1].split()[1]) for lines in (before, after)]
    assert at_most[1] - at_most[0] >= 25


def test_operators_are_profiled(bench, software_phone):
    text = bench(software_phone, "--enable_op_profiling=true")
    assert "Operator-wise Profiling Info for Regular Benchmark Runs:" in text
    assert "CONV_2D" in text


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (Fault(on="benchmark", do="crash"), 139, "Segmentation fault"),
        (Fault(on="benchmark", do="abort"), 134, "Aborted"),
        (Fault(on="benchmark", do="kill"), 137, "Killed"),
        (Fault(on="benchmark", do="linker"), 1, "CANNOT LINK EXECUTABLE"),
        (Fault(on="benchmark", do="exit", code=3, after=-1), 3, ""),
        (Fault(on="benchmark", do="empty"), 0, ""),
        (Fault(on="benchmark", do="garbage", stdout="\x00\x01count=zz"), 0, "count=zz"),
        (Fault(on="benchmark", do="no-result"), 0, "count=5"),
        (Fault(on="benchmark", do="warn"), 0, "Unconsumed cmdline flags: --use_xnnpack=true"),
        (Fault(on="benchmark", do="invoke-error", after=2), 1, "Benchmarking failed."),
    ],
    ids=lambda value: getattr(value, "do", None),
)
def test_a_benchmark_that_goes_wrong(bench, software_phone, fault, code, says):
    software_phone.set_rules(fault)
    text = bench(software_phone)
    assert f"@@RC={code}\n" in text
    assert says in text
    assert software_phone.fired()[0][0] == "benchmark"
    assert bench(software_phone).endswith("@@RC=0\n"), "once only"


@pytest.mark.parametrize(
    ("do", "says", "code"),
    [
        ("nothing", "completely executed by the delegate", 0),
        ("partial", "partially executed by the delegate w/ 3 delegate kernels", 0),
        ("fallback", "Though GPU delegate is explicitly applied", 0),
        ("refuse", "Failed to apply GPU delegate.", 1),
    ],
)
def test_a_delegate_that_takes_all_some_or_nothing(bench, software_phone, do, says, code):
    software_phone.set_rules(Fault(on="benchmark", do=do, times=None))
    text = bench(software_phone, "--use_gpu=true")
    assert says in text
    assert f"@@RC={code}\n" in text


def test_the_state_changes_in_the_middle_of_a_run(bench, software_phone):
    path = "/sys/devices/system/cpu/cpufreq/policy8/scaling_max_freq"
    software_phone.set_rules(
        Fault(
            on="benchmark",
            after=3,
            write={
                path: "1401000\n",
                "/.phone/thermal/status": "2\n",
                "/.phone/battery/level": "9\n",
            },
        )
    )
    assert bench(software_phone, before="taskset 100").endswith("@@RC=0\n")
    assert software_phone.read(path) == "1401000\n"


def test_a_reboot_in_the_middle_of_a_run(bench, software_phone, phone_rig):
    bench(software_phone)
    software_phone.set_rules(Fault(on="benchmark", after=2, do="reboot", seconds=0.2))
    assert "@@RC" not in bench(software_phone, "--num_runs=5000 --min_secs=9")
    phone_rig.wait_for_state(software_phone)
    assert phone_rig.adb("-s", software_phone.serial, "shell", "pidof benchmark_model").code == 1


def test_a_small_core_is_slower(bench, software_phone):
    medians = {}
    for mask in ("100", "1"):
        text = bench(software_phone, before=f"taskset {mask}")
        medians[mask] = int(re.findall(r"median=(\d+)", text)[-1])
    assert medians["1"] > 1.5 * medians["100"]
