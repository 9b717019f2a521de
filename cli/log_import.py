"""`mnasnet log --import`: a record of what somebody measured by hand."""

from collections.abc import Mapping
from pathlib import Path

from mnasnet_deploy.errors import InputError

from . import bench_view, console

__all__ = ["import_files"]


def import_files(
    logs: Mapping[str, bytes],
    *,
    model: Path | None,
    device: str | None,
    threads: int | None,
    delegate: str | None,
    results: Path,
    json: bool,
) -> None:
    """Add one record of all the logs to a results folder, and show it.

    Raises:
        InputError: an option is missing, a log holds no result, or they do not belong together.
        NotReadyError: the folder cannot be written.
    """
    from mnasnet_deploy.bench.imported import import_logs
    from mnasnet_deploy.export import modelfile
    from mnasnet_deploy.results import store

    if model is None or device is None or not device.strip():
        raise InputError(
            "--import needs --model FILE, what was measured, and --device-name NAME, on what"
        )
    measured = modelfile.read(model)
    measured.require_intact()
    record = import_logs(logs, measured, device=device.strip(), threads=threads, delegate=delegate)
    path = store.add(record, results)
    if json:
        console.emit_json(bench_view.results_mapping([(record, path)], {}))
        return
    shown = bench_view.Shown(file=0, device=1, threads=True, delegate=True)
    console.out(bench_view.record_line(record, shown, device.strip()))
    for reason in record.reasons:
        console.say(f"  {reason}")
    console.say(f"record {record.id} added to {results}; see it with 'mnasnet table'")
