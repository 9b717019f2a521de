"""The table in a README: made from what is kept beside it, and stale when that says otherwise."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnasnet_deploy.errors import InputError, MnasnetError, StaleError
from mnasnet_deploy.report import readme
from mnasnet_deploy.results.files import Files

README = b"# Title\n\n<!-- mnasnet:table:begin -->\n<!-- mnasnet:table:end -->\n\nEnd.\n"
FILE = "mnasnet-a1_0.5_160_int8.tflite"


class _Repository:
    """A README, and what is kept beside it."""

    def __init__(self, document=README):
        self.document, self.kept, self.notes = document, (), {}

    def write(self, measured=(), files=None):
        plan = readme.plan(
            self.document,
            measured=measured,
            files=files or Files(),
            kept=self.kept,
            notes=self.notes,
        )
        self.document, self.notes = plan.document, plan.notes
        self.kept = (*self.kept, *plan.add)
        return plan

    def check(self):
        return readme.check(self.document, kept=self.kept, notes=self.notes, name="README.md")


@pytest.fixture
def here(building):
    return lambda content: Files(sha256={FILE: building.sha256_of(content)}, complete=True)


def test_what_is_written_checks(make_record, here):
    repository, record = _Repository(), make_record()
    plan = repository.write([record], here("first"))
    assert plan.add == (record,)
    assert plan.shown == repository.check() == 1
    text = repository.document.decode()
    assert "1.52 [1.50, 1.55]" in text
    assert f"`{record.id}`" in text
    assert "mnasnet table --write" in text
    assert text.startswith("# Title\n\n<!-- mnasnet:table:begin -->\n")
    assert text.endswith("\n<!-- mnasnet:table:end -->\n\nEnd.\n")


def test_writing_again_changes_nothing(make_record, here):
    repository = _Repository()
    repository.write([make_record()], here("first"))
    before = repository.document
    for files in (here("first"), Files(), Files(complete=True)):
        plan = repository.write([make_record()], files)
        assert (plan.document, plan.add) == (before, ())
    assert repository.write().document == before  # by someone without results and models


def test_a_table_without_records_checks_until_one_is_put_beside_it(make_record):
    repository = _Repository()
    repository.write()
    assert repository.check() == 0
    repository.kept = (make_record(),)
    with pytest.raises(StaleError, match="older than docs/results"):
        repository.check()


def test_a_table_whose_record_is_gone_is_stale(make_record):
    repository = _Repository()
    repository.write([make_record()])
    repository.kept = ()
    with pytest.raises(StaleError) as caught:
        repository.check()
    assert "mnasnet table --write README.md" in str(caught.value)


def test_a_number_changed_by_hand_is_stale_and_its_line_is_named(make_record):
    repository = _Repository()
    repository.write([make_record()])
    lines = repository.document.split(b"\n")
    number = next(i for i, line in enumerate(lines, 1) if b"1.52 [" in line)
    repository.document = repository.document.replace(b"1.52 [", b"1.02 [")
    with pytest.raises(StaleError, match=f"from line {number} on"):
        repository.check()


def test_other_line_ends_are_no_change(make_record):
    repository = _Repository(README.replace(b"\n", b"\r\n"))
    repository.write([make_record()])
    assert b"\n" not in repository.document.replace(b"\r\n", b"")
    repository.check()
    repository.document = repository.document.replace(b"\r\n", b"\n")
    repository.check()


def test_a_file_that_changed_since_loses_its_number_also_where_no_models_are(make_record, here):
    repository = _Repository()
    record = make_record(content="first")
    repository.write([record], here("first"))
    repository.write([record], here("second"))
    assert b"file changed since measured" in repository.document
    assert b"1.52 [" not in repository.document
    repository.check()
    # Someone else, without the models, keeps what is known ...
    repository.write([record])
    assert b"file changed since measured" in repository.document
    # ... until the changed file is measured.
    again = make_record(content="second", minute=1, median_ms=2.0)
    repository.write([again])
    assert b"2.00 [1.98, 2.03]" in repository.document
    assert repository.check() == 1


def test_measured_elsewhere_on_other_bytes_since_the_newer_number_is_shown(make_record, here):
    repository = _Repository()
    repository.write([make_record(content="first")], here("first"))
    repository.write([make_record(content="third", minute=5, median_ms=3.0)])
    assert b"3.00 [2.98, 3.03]" in repository.document


def test_records_that_explain_a_missing_number_are_kept_too(make_record):
    bad = make_record(verdict="invalid", reasons=("HOT: 61 C",))
    repository = _Repository()
    assert repository.write([bad]).add == (bad,)
    assert b"invalid: HOT" in repository.document
    assert repository.check() == 0


def test_records_nothing_shows_are_not_carried_along(make_record):
    records = [make_record(minute=minute) for minute in range(5)]
    assert _Repository().write(records).add == (records[-1],)


def test_records_of_two_computers_come_together(make_record, building):
    repository = _Repository()
    first, second = make_record(), make_record(device=building.PHONE, minute=1)
    repository.write([first])
    repository.write([second])
    assert repository.check() == 2


def test_one_id_for_two_records_is_refused(make_record):
    repository = _Repository()
    repository.write([make_record()])
    with pytest.raises(MnasnetError, match="differs from the one measured"):
        repository.write([make_record(median_ms=1.0)])


def test_each_marker_names_its_network(make_record):
    document = README.replace(b"begin -->", b"begin network=mobilenet-v2 -->") + README
    repository = _Repository(document)
    repository.write([make_record()])
    titles = re.findall(r"^\*\*(.+)\*\*$", repository.document.decode(), flags=re.MULTILINE)
    assert titles[0] == "mobilenet-v2, published and measured"
    assert "mnasnet-a1, published and measured" in titles
    repository.check()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"# Title\n", "no place for a table: put '<!-- mnasnet:table:begin -->'"),
        (b"", "no place for a table"),
        (README.replace(b"begin -->", b"begin network=mnasnet-a2 -->"), "did you mean"),
    ],
)
def test_a_document_without_a_place_is_wrong_input(document, said):
    for call in (_Repository(document).write, _Repository(document).check):
        with pytest.raises(InputError, match=said):
            call()


def test_no_record_can_end_the_table(make_record, building):
    evil = "<!-- mnasnet:table:end -->"
    record = make_record(file=f"x\n{evil}\n.tflite", network="", verdict="noisy", reasons=(evil,))
    repository = _Repository()
    repository.write([record])
    assert repository.document.count(evil.encode()) == 1
    repository.check()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
@pytest.mark.slow
def test_whatever_is_measured_what_is_written_checks_and_stays(data, make_record, building):
    """Several people write in turn, with the records and the files that each has."""
    contents = st.sampled_from(["first", "second"])
    records = st.lists(
        st.builds(
            make_record,
            minute=st.integers(0, 3),
            content=contents,
            threads=st.integers(1, 2),
            resolution=st.sampled_from([160, 64]),
            file=st.sampled_from([None, "copy.tflite"]),
            verdict=st.sampled_from(["valid", "noisy", "invalid"]),
        ),
        max_size=4,
        unique_by=lambda record: record.id,
    )
    files = st.builds(
        lambda present, complete: Files(
            sha256={name: building.sha256_of(text) for name, text in present.items()},
            complete=complete,
        ),
        st.dictionaries(st.sampled_from([FILE, "copy.tflite"]), contents),
        st.booleans(),
    )
    repository = _Repository()
    for _ in range(data.draw(st.integers(1, 3))):
        kept = {record.id: record for record in repository.kept}
        measured = [kept.get(record.id, record) for record in data.draw(records)]
        known = data.draw(files)
        repository.write(measured, known)
        repository.check()
        again = repository.write(measured, known)
        assert again.add == ()
        repository.check()
