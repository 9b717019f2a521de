"""`mnasnet table` and `mnasnet results` as their user meets them."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mnasnet_deploy.results import store

ROOT = Path(__file__).parents[2]
FILE = "mnasnet-a1_0.5_160_int8.tflite"
README = "# Mine\n\n<!-- mnasnet:table:begin -->\n<!-- mnasnet:table:end -->\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, with the defaults `results` and `models` in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def measured(make_record):
    record = make_record(content="first", untrained=True)
    store.add(record)
    return record


def _model(content, name=FILE):
    Path("models").mkdir(exist_ok=True)
    Path("models", name).write_text(content)


def test_without_any_measurement_the_published_grid_is_shown(mnasnet):
    run = mnasnet("table")
    assert run.code == 0
    first = next(line for line in run.out.splitlines() if line.split()[:1] == ["224"])
    assert first.split() == ["224", "1.4", "77.2", "93.5", "6.1", "591.5", "135"]
    assert "no measurements in results: 'mnasnet bench' and 'mnasnet eval' make them" in run.err


def test_a_number_is_shown_for_the_bytes_it_was_measured_on(mnasnet, measured):
    _model("first")
    assert "1.52 [1.50, 1.55] u" in mnasnet("table").out
    assert mnasnet("table").err == ""
    _model("other")
    run = mnasnet("table")
    assert "file changed since measured" in run.out
    assert "1.52 [" not in run.out


def test_without_the_models_the_number_is_shown_and_said_so(mnasnet, measured):
    run = mnasnet("table")
    assert "1.52 [1.50, 1.55] u" in run.out
    assert "no folder models" in run.err
    Path("models").mkdir()
    assert "1.52 [1.50, 1.55] u a" in mnasnet("table").out


def test_the_models_may_lie_elsewhere(mnasnet, measured):
    _model("first")
    Path("models").rename("kept")
    assert "1.52 [1.50, 1.55] u" in mnasnet("table", "--models", "kept").out


@pytest.mark.parametrize("form", ["text", "md", "csv", "json"])
def test_every_format_has_the_number_and_the_marks(mnasnet, measured, form):
    _model("first")
    run = mnasnet("table", "--format", form)
    assert run.code == 0
    if form == "json":
        mapping = json.loads(run.out)
        assert mapping == json.loads(mnasnet("table", "--json").out)
        assert mapping["records"] == [measured.id]
    elif form == "csv":
        rows = list(csv.DictReader(run.out.splitlines()))
        assert [r for r in rows if "1.52" in r.values() and "u" in r.values()]
    else:
        assert "1.52 [1.50, 1.55] u" in run.out


def test_other_networks_by_either_option(mnasnet):
    assert "mobilenet-v2, published" in mnasnet("table", "--network", "mobilenet-v2").out
    assert "mobilenet-v2, published" in mnasnet("table", "--variant", "mobilenet-v2").out
    run = mnasnet("table", "--variant", "b1")
    assert (run.code, run.out) == (0, "")
    assert "nothing is published about mnasnet-b1" in run.err


def test_broken_result_files_are_named_and_the_table_is_shown(mnasnet, measured):
    Path("results/records/half.json").write_text("{")
    run = mnasnet("table")
    assert run.code == 0
    assert "1.52 [" in run.out
    assert run.err.count("half.json is skipped (and kept): not whole JSON") == 1


def test_a_table_is_written_checked_and_found_stale(mnasnet, measured, make_record):
    _model("first")
    Path("README.md").write_text(README)
    assert mnasnet("table", "--check", "README.md").code == 1
    run = mnasnet("table", "--write", "README.md")
    assert (run.code, run.out) == (0, "")
    assert "new table: numbers of 1 record, 1 record added to docs/results" in run.err
    assert measured.id in Path("README.md").read_text()
    assert Path(f"docs/results/records/{measured.id}.json").is_file()
    assert mnasnet("table", "--check", "README.md").code == 0

    before = Path("README.md").read_bytes()
    run = mnasnet("table", "--write", "README.md")
    assert "is up to date" in run.err
    assert Path("README.md").read_bytes() == before

    store.add(make_record(content="first", minute=9), Path("docs/results"))
    run = mnasnet("table", "--check", "README.md")
    assert run.code == 1
    assert run.err.startswith("error: README.md: the table is older than docs/results")
    assert Path("README.md").read_bytes() == before


def test_check_needs_neither_results_nor_models(mnasnet, measured, folder, monkeypatch):
    _model("first")
    Path("README.md").write_text(README)
    mnasnet("table", "--write", "README.md")
    Path("models", FILE).write_text("changed")
    Path("results").rename("gone")
    assert mnasnet("table", "--check", "README.md").code == 0
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert mnasnet("table", "--check", folder / "README.md").code == 0


def test_a_changed_file_is_said_in_the_written_table_too(mnasnet, measured):
    _model("first")
    Path("README.md").write_text(README)
    mnasnet("table", "--write", "README.md")
    _model("second")
    mnasnet("table", "--write", "README.md")
    assert "file changed since measured" in Path("README.md").read_text()
    assert mnasnet("table", "--check", "README.md").code == 0


def test_the_kept_records_are_a_results_folder_of_their_own(mnasnet, measured):
    Path("README.md").write_text(README)
    mnasnet("table", "--write", "README.md")
    assert "1.52 [" in mnasnet("table", "--results", "docs/results").out
    assert measured.id in mnasnet("results", "list", "--results", "docs/results").out


def test_a_link_to_a_readme_stays_a_link(mnasnet, measured):
    Path("sub").mkdir()
    Path("sub/REAL.md").write_text(README)
    Path("README.md").symlink_to("sub/REAL.md")
    assert mnasnet("table", "--write", "README.md").code == 0
    assert Path("README.md").is_symlink()
    assert "1.52 [" in Path("sub/REAL.md").read_text()
    assert mnasnet("table", "--check", "README.md").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--write", "none.md"], "none.md: cannot be read: No such file"),
        (["--write", "."], "not a file"),
        (["--check", "none.md"], "none.md: cannot be read"),
        (["--write", "plain.md"], "no place for a table: put '<!-- mnasnet:table:begin -->'"),
        (["--write", "half.md"], "line 1: the table that begins here has no"),
        (["--write", "README.md", "--check", "README.md"], "exclude each other"),
        (["--write", "README.md", "--lint"], "exclude each other"),
        (["--write", "README.md", "--variant", "a1"], "take the network from the marker"),
        (["--check", "README.md", "--json"], "leave out --variant, --format and --json"),
        (["--check", "README.md", "--results", "results"], None),
        (["--check", "README.md", "--results", "docs/results"], "leave out --results"),
        (["--variant", "a2"], "did you mean"),
        (["--format", "html"], "html"),
        (["--results", "nowhere"], "no folder nowhere"),
        (["--models", "nowhere"], "no folder nowhere"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(mnasnet, measured, folder, arguments, said):
    Path("plain.md").write_text("# Plain\n")
    Path("half.md").write_text("<!-- mnasnet:table:begin -->\n")
    Path("README.md").write_text(README)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run = mnasnet("table", *arguments)
    if said is None:
        assert run.code == 1  # the default, so it is not wrong: only stale
    else:
        assert run.code == 2
        assert said in run.err
        assert run.err.count("\n") == 1
    assert run.out == ""
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_table_in_our_own_readme_is_fresh(mnasnet):
    run = mnasnet("table", "--check", ROOT / "README.md")
    assert run.code == 0, run.err


def test_lint_reports_and_does_not_fail(mnasnet):
    run = mnasnet("table", "--lint")
    assert run.code == 0
    assert "REPEATED_COLUMN: 0.35 @160" in run.out
    assert "[README of tensorflow/tpu models/official/mnasnet]" in run.out
    assert "mnasnet-a1: 8 findings" in run.err
    listed = json.loads(mnasnet("table", "--lint", "--json").out)
    assert listed["schema"] == "mnasnet.lint/1"
    assert len(listed["findings"]) == len(run.out.splitlines()) == 8
    assert listed["findings"][1]["cells"] == [
        {"resolution": 160, "multiplier": 0.35, "column": "top1"}
    ]


def test_results_are_listed_oldest_first(mnasnet, make_record):
    records = [
        make_record(minute=1, verdict="invalid", reasons=("HOT: 61 C",), estimated=False),
        make_record(minute=0, threads=2),
    ]
    for record in records:
        store.add(record)
    head, first, second = mnasnet("results", "list").out.splitlines()
    assert head.split()[0] == "time"
    assert records[1].id in first
    assert "1.52 [1.50, 1.55]" in first
    assert "invalid: HOT" in second
    rows = json.loads(mnasnet("results", "list", "--json").out)
    assert [row["id"] for row in rows] == [records[1].id, records[0].id]
    assert rows[0]["schema"] == "mnasnet.result/1"
    assert (rows[0]["median_ms"], rows[0]["threads"], rows[0]["first_ms"]) == (1.52, 2, 3.04)
    assert (rows[1]["median_ms"], rows[1]["reasons"]) == (None, "HOT: 61 C")


def test_what_a_phone_measured_is_listed_with_how(mnasnet, make_record, building):
    phone = replace(building.PHONE, build="sailfish-user 10", runtime_sha256="ab" * 32)
    store.add(make_record(device=phone, mode="fixed", prepared=True, allowed=("WARM",)))
    store.add(make_record(device=building.STAND_IN, minute=1))
    _, first, second = mnasnet("results", "list").out.splitlines()
    assert "  Pixel 1  " in first
    assert "valid: WARM" in first
    assert "  software phone: Pixel 1  " in second
    row, stand_in = json.loads(mnasnet("results", "list", "--json").out)
    assert (row["mode"], row["prepared"], row["allowed"]) == ("fixed", True, "WARM")
    assert (row["build"], row["runtime_sha256"]) == ("sailfish-user 10", "ab" * 32)
    assert stand_in["device_kind"] == "software-phone"


def test_results_become_csv_on_the_screen_and_in_a_file(mnasnet, measured):
    run = mnasnet("results", "export", "csv")
    (row,) = csv.DictReader(run.out.splitlines())
    assert (row["id"], row["median_ms"], row["untrained"]) == (measured.id, "1.52", "True")
    done = mnasnet("results", "export", "csv", "--out", "all.csv")
    assert (done.code, done.out) == (0, "")
    assert Path("all.csv").read_text() == run.out
    assert list(row) == list(json.loads(mnasnet("results", "list", "--json").out)[0])[1:]


def test_without_results_there_is_nothing_to_list_and_no_error(mnasnet):
    run = mnasnet("results", "list")
    assert (run.code, run.out) == (0, "")
    assert "'mnasnet bench' and 'mnasnet eval' make them" in run.err
    assert mnasnet("results", "list", "--json").out == "[]\n"
    assert mnasnet("results", "export", "csv").out.startswith("time,file,sha256,")


def test_a_results_folder_that_was_named_must_be_there(mnasnet):
    run = mnasnet("results", "list", "--results", "nowhere")
    assert (run.code, run.err.count("\n")) == (2, 1)


BLOCKED = """
import sys
for name in ("numpy", "ai_edge_litert", "rich", "yaml", "flatbuffers"):
    sys.modules[name] = None
from mnasnet_deploy.cli.main import main
code = main(sys.argv[1:])
heavy = {"hashlib", "importlib.resources", "statistics", "mnasnet_deploy.arch.variants"}
print(*sorted(heavy & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.processes
@pytest.mark.slow
def test_the_table_runs_without_numpy_and_loads_little(measured, folder):
    _model("first")
    command = [sys.executable, "-c", BLOCKED]
    for arguments in (["table"], ["table", "--format", "json"], ["results", "list"]):
        done = subprocess.run(
            [*command, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "1.52" in done.stdout
    empty = folder / "empty"
    empty.mkdir()
    done = subprocess.run(
        [*command, "table"], cwd=empty, capture_output=True, text=True, check=False
    )
    # Without a model to hash and a network to count, none of these is worth its milliseconds.
    assert done.stderr.splitlines()[-1] == ""
