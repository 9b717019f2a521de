"""The same shards on a Dask cluster: the same counts, whatever dies on the way."""

import os
import re
import signal
import sys

import pytest

from mnasnet_deploy.errors import InputError, NotReadyError
from mnasnet_deploy.evaluate.dataset import find_dataset
from mnasnet_deploy.evaluate.pools import on_cluster, on_this_machine
from mnasnet_deploy.evaluate.run import Evaluation, same_finding
from mnasnet_deploy.evaluate.subject import candidate
from mnasnet_deploy.export import modelfile

from . import material

distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    # Dask's own: event loops and sockets of processes that are killed here on purpose.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes on this machine."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as found:
        yield found


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "val"
    material.write_images(folder, count=480, seed=3)
    return folder


def evaluation_of(paths, data, results):
    found = [modelfile.read(path) for path in paths]
    candidates = [candidate(model, modelfile.artifact(model), data, None) for model in found]
    return Evaluation(candidates=candidates, data=data, results=results)


@pytest.fixture(scope="module")
def here(many, models, tmp_path_factory):
    evaluation = evaluation_of(models.values(), find_dataset(many), tmp_path_factory.mktemp("r"))
    evaluation.run(on_this_machine(1))
    return list(evaluation.accuracies())


def test_a_cluster_counts_what_one_process_counts(cluster, many, models, here, tmp_path):
    evaluation = evaluation_of(models.values(), find_dataset(many), tmp_path)
    with on_cluster(cluster.scheduler_address) as evaluate:
        evaluation.run(evaluate)
    assert all(map(same_finding, evaluation.accuracies(), here))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_killed_midway_changes_no_count(cluster, many, models, here, tmp_path):
    evaluation = evaluation_of(models.values(), find_dataset(many), tmp_path)
    before = [worker.pid for worker in cluster.workers.values()]
    seen = []

    def advance(images):
        seen.append(images)
        if len(seen) == 3:  # results are coming in, others are being worked on
            os.kill(before[0], signal.SIGKILL)

    with on_cluster(cluster.scheduler_address) as evaluate:
        evaluation.run(evaluate, advance)
    assert len(seen) == 2 * len(evaluation.data.shards)
    assert all(map(same_finding, evaluation.accuracies(), here))


def test_the_command_spreads_over_a_cluster(cluster, mnasnet, many, models, here, tmp_path):
    run = mnasnet(
        "eval", *models.values(), "--data", many, "--cluster", cluster.scheduler_address,
        "--results", tmp_path,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert f"top-1 measured {here[0].top1.percent:.1f}" in run.out
    again = mnasnet("eval", *models.values(), "--data", many, "--results", tmp_path, "--jobs", "1")
    assert "960 of 960 kept from before" in again.err
    assert again.out == run.out


def test_where_nobody_answers_it_is_one_line(mnasnet, images, models, tmp_path, monkeypatch):
    monkeypatch.setattr("mnasnet_deploy.evaluate.pools.CONNECT_TIMEOUT_S", 0.5)
    run = mnasnet(
        "eval", *models.values(), "--data", images, "--cluster", "tcp://127.0.0.1:1",
        "--results", tmp_path,
    )  # fmt: skip
    assert run.code == 3
    errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert re.search(r"no Dask scheduler answers at tcp://127\.0\.0\.1:1", errors[0])
    with (
        pytest.raises(InputError, match="such as tcp://host:8786"),
        on_cluster("carrier pigeon://"),
    ):
        pass


def test_a_cluster_without_workers_is_said():
    with (
        distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as empty,
        pytest.raises(NotReadyError, match="no worker is connected"),
        on_cluster(empty.scheduler_address),
    ):
        pass


def test_ctrl_c_on_a_cluster_keeps_what_is_done(cluster, many, models, here, tmp_path):
    evaluation = evaluation_of(models.values(), find_dataset(many), tmp_path)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), on_cluster(cluster.scheduler_address) as evaluate:
        evaluation.run(evaluate, stop)
    assert evaluation.done == 32
    again = evaluation_of(models.values(), find_dataset(many), tmp_path)
    assert again.done == 32
    with on_cluster(cluster.scheduler_address) as evaluate:
        again.run(evaluate)
    assert all(map(same_finding, again.accuracies(), here))
