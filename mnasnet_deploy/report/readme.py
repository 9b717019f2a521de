"""The table in a README: what to put there, which records to keep beside it, whether it is stale.

The text is made from the records and notes in `docs/results` beside the README and from nothing
else, so that anyone who has the repository can check it without a models folder.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.errors import InputError, MnasnetError, StaleError
from mnasnet_deploy.report.grid import build_table
from mnasnet_deploy.report.measured import by_stand_in
from mnasnet_deploy.report.model import Table, clean
from mnasnet_deploy.report.render import escape_markdown, markdown
from mnasnet_deploy.report.splice import Block, find_blocks, splice
from mnasnet_deploy.results.accuracy import Accuracy
from mnasnet_deploy.results.codec import AnyRecord
from mnasnet_deploy.results.files import Files
from mnasnet_deploy.results.store import newest_last

__all__ = ["Plan", "check", "plan"]

_HOW = (
    "put '<!-- mnasnet:table:begin -->' and '<!-- mnasnet:table:end -->' on lines of their own "
    "where the table belongs"
)
_MADE = "<!-- made by 'mnasnet table --write' from docs/results: change the records, not this -->"
_DEFAULT = "mnasnet-a1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write.

    Attributes:
        document: the whole README.
        add: records to put into `docs/results`.
        notes: which bytes each file name means, to note there.
        shown: how many records' numbers the document shows.
    """

    document: bytes
    add: tuple[AnyRecord, ...]
    notes: Mapping[str, str]
    shown: int


def plan(
    document: bytes,
    *,
    measured: Iterable[AnyRecord],
    files: Files,
    kept: Iterable[AnyRecord],
    notes: Mapping[str, str],
) -> Plan:
    """Choose the records a README needs and make its tables from them.

    Args:
        document: the README as it is.
        measured: records of the results folder; those of software phones do not belong on a page.
        files: which bytes the model files have now.
        kept: records that `docs/results` has.
        notes: which bytes the file names meant when that was written.

    Raises:
        InputError: no markers, or wrong ones.
        MnasnetError: one id names two different records.
    """
    blocks = _blocks(document)
    here = {record.id: record for record in kept}
    together = {record.id: record for record in measured if not by_stand_in(record)}
    for record_id in here.keys() & together.keys():
        if here[record_id] != together[record_id]:
            raise MnasnetError(
                f"record {record_id} in docs/results differs from the one measured: delete the "
                "wrong one"
            )
    together |= here
    known = _merge_notes(together.values(), here, files, notes)
    tables = [build_table(_network(block), together.values(), known) for block in blocks]
    used = {record_id for table in tables for record_id in table.used_records}
    add = newest_last(together[record_id] for record_id in used - here.keys())
    meant = {name: sha256 for table in tables for name, sha256 in table.files.items()}
    rendered, shown = _render(document, blocks, (*here.values(), *add), meant)
    return Plan(document=rendered, add=tuple(add), notes=meant, shown=shown)


def check(
    document: bytes, *, kept: Iterable[AnyRecord], notes: Mapping[str, str], name: str
) -> int:
    """Hold a README against `docs/results`.

    Args:
        document: the README.
        kept: records that `docs/results` has.
        notes: which bytes the file names mean there.
        name: of the README, for the message.

    Returns:
        How many records' numbers it shows.

    Raises:
        StaleError: a table is not what its records make.
        InputError: no markers, or wrong ones.
    """
    blocks = _blocks(document)
    fresh, shown = _render(document, blocks, kept, notes)
    for old, new in zip(blocks, find_blocks(fresh), strict=True):
        before, after = old.content(document), new.content(fresh)
        if before == after:
            continue
        lines = zip((*before.split("\n"), ""), (*after.split("\n"), ""), strict=False)
        ahead = next((i for i, (a, b) in enumerate(lines) if a != b), 0)
        raise StaleError(
            f"{name}: the table is older than docs/results (it differs from line "
            f"{old.line + 1 + ahead} on): run 'mnasnet table --write {name}'"
        )
    return shown


def _blocks(document: bytes) -> list[Block]:
    blocks = find_blocks(document)
    if not blocks:
        raise InputError(f"no place for a table: {_HOW}")
    return blocks


def _network(block: Block) -> str:
    return find_variant(block.attributes.get("network", _DEFAULT)).spec.name


def _merge_notes(
    records: Iterable[AnyRecord], kept: Container[str], files: Files, notes: Mapping[str, str]
) -> Files:
    """Which bytes the names mean: as they are, else as noted unless measured again since."""
    last = {record.artifact.file: record.id for record in newest_last(records)}
    noted = {
        name: sha256 for name, sha256 in notes.items() if name not in last or last[name] in kept
    }
    return Files(sha256={**noted, **files.sha256})


def _render(
    document: bytes, blocks: Sequence[Block], records: Iterable[AnyRecord], notes: Mapping[str, str]
) -> tuple[bytes, int]:
    by_id = {record.id: record for record in records}
    files = Files(sha256=notes)
    tables = {block.start: build_table(_network(block), by_id.values(), files) for block in blocks}
    shown = {record_id for table in tables.values() for record_id in table.shown_records}
    fresh = splice(document, blocks, lambda block: _text(tables[block.start], by_id))
    return fresh, len(shown)


def _text(table: Table, records: Mapping[str, AnyRecord]) -> str:
    blocks = [_MADE, markdown(table)]
    if table.shown_records:
        lines = [_record_line(records[record_id]) for record_id in table.shown_records]
        count = f"{len(lines)} record{'s' * (len(lines) != 1)} in docs/results/records"
        blocks.append(f"<details>\n<summary>{count}</summary>\n\n" + "\n".join(lines))
        blocks.append("</details>")
    return "\n\n".join(blocks)


def _record_line(record: AnyRecord) -> str:
    artifact = record.artifact
    told = f"{artifact.file} (sha256 {artifact.sha256[:12]}) on "
    if isinstance(record, Accuracy):
        data = record.data
        told += f"{data.images:,} images of {data.name} (sha256 {data.digest[:12]})"
    else:
        told += f"{record.device.name}, {record.device.os}"
    by = f"{record.time} by {record.tool}"
    return f"- `{record.id}`: {escape_markdown(clean(f'{told}, {by}'))}"
