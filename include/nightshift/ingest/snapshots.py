"""Publishing what was read: ``raw/<day>`` and ``table.<name>/all``.

A version is published only when it says something new: other rows, other rules of reading, or that the
rows were read again after their labels became known (``as_of``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nightshift.ingest.columns import UNKNOWN, convert, kind_of, type_named, unify
from nightshift.ingest.days import Quarantined, quarantine_table
from nightshift.ingest.formats import FileRows
from nightshift.ingest.sources import SourceFile
from nightshift.plan import CODE_OF_STAGE, Interval, Plan, code_digest, digest_of
from nightshift.storage import Attempt, Manifest, Store
from nightshift.storage.digest import table_digest

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

RAW = "raw"
TABLE = "table."
WHOLE = "all"


@dataclass(frozen=True)
class Rules:
    """What decides, besides a file's bytes, which rows come out of it.

    Attributes:
        digest: Of the source section, the key and the label's column.
        code: Of the code of this stage.
    """

    digest: str
    code: str

    @classmethod
    def of(cls, plan: Plan) -> Rules:
        spec = plan.spec.model_dump(mode="json")
        source = {name: value for name, value in spec["source"].items() if name not in ("since", "until")}
        rules = {"source": source, "key": spec["key"], "label": spec["label"]["column"]}
        return cls(digest_of(rules), code_digest(CODE_OF_STAGE["ingest"]))


@dataclass(frozen=True)
class DayRead:
    """One day as it was read: its rows in settled types, what was set aside, its files, the types by column."""

    rows: pa.Table
    quarantined: Sequence[Quarantined]
    files: Sequence[SourceFile]
    types: Mapping[str, str]


@dataclass(frozen=True)
class RawDays:
    """The raw days of one night, in storage.

    Attributes:
        plan: The night.
        store: Where they are.
        rules: How rows are read now.
    """

    plan: Plan
    store: Store
    rules: Rules

    def needs_reading(self, published: Manifest | None, files: Sequence[SourceFile]) -> bool:
        """Whether a day has to be read: it is new, or its files or the rules changed.

        A day whose files are gone from the source stays as it is.
        """
        if published is None:
            return True
        if not files:
            return False
        prints = [[file.name, file.fingerprint] for file in files]
        return (
            published.result["files"] != prints
            or published.result["rules"] != self.rules.digest
            or published.code != self.rules.code
        )

    def labels_became_known(self, day: Interval, published: Manifest) -> bool:
        """Whether the day was read before its labels were known, and they are known on this night."""
        known = day.end + self.plan.spec.label.delay
        return datetime.fromisoformat(published.result["as_of"]) < known <= self.plan.interval.end

    def publish(self, day: Interval, read: DayRead, published: Manifest | None) -> Manifest:
        """Publish a day that was read, unless the published version says the same already."""
        quarantine = quarantine_table(read.quarantined)
        if published is not None and _same(published, read.rows, quarantine):
            rules_changed = published.result["rules"] != self.rules.digest or published.code != self.rules.code
            if not rules_changed and not self.labels_became_known(day, published):
                return published
        result = {
            "as_of": self._as_of(published),
            "rows_in": read.rows.num_rows + len(read.quarantined),
            "rows_out": read.rows.num_rows,
            "quarantined": len(read.quarantined),
            "types": {name: read.types[name] for name in read.rows.column_names},
            "files": [[file.name, file.fingerprint] for file in read.files],
            "rules": self.rules.digest,
        }
        return self._publish(day, lambda attempt: _put(attempt, read.rows, quarantine), result)

    def confirm(self, day: Interval, published: Manifest) -> Manifest:
        """Publish an unchanged day again: it was looked at after its labels became known."""
        result = {**published.result, "as_of": self._as_of(published)}
        return self._publish(day, lambda attempt: attempt.adopt_files(published), result)

    def restate(self, day: Interval, published: Manifest, types: Mapping[str, str]) -> Manifest:
        """Publish a stored day in wider column types, where newer days need them; nothing else changes.

        Raises:
            SourceError: A stored value does not fit the wider type exactly.
        """
        import pyarrow as pa

        stored = published.result["types"]
        changed = {name: types[name] for name, kind in stored.items() if _is_wider(types.get(name, kind), kind)}
        schema = published.outputs["rows"].schema
        if all(str(type_named(kind)) == schema[name] for name, kind in changed.items()):
            return published
        rows = self.store.read_table(published, "rows")
        log.info("%s: %s now have wider types", published.ref, ", ".join(f"{n} ({k})" for n, k in changed.items()))
        columns = {
            name: convert(rows.column(name), changed[name], name=name) if name in changed else rows.column(name)
            for name in rows.column_names
        }
        quarantine = self.store.read_table(published, "quarantine")
        result = {**published.result, "types": {**stored, **changed}}
        return self._publish(day, lambda attempt: _put(attempt, pa.table(columns), quarantine), result)

    def booked_before(self, published: Mapping[Interval, Manifest]) -> dict[tuple[str, int, str], Interval]:
        """Quarantined rows that stored days have, and which day: a row without a day is booked once."""
        booked: dict[tuple[str, int, str], Interval] = {}
        for day, manifest in published.items():
            if manifest.outputs["quarantine"].rows:
                for row in self.store.read_table(manifest, "quarantine").to_pylist():
                    booked.setdefault(Quarantined(**row).identity, day)
        return booked

    def _as_of(self, published: Manifest | None) -> str:
        """Never back: an older night that runs again does not make a day unknown."""
        now = self.plan.interval.end
        before = datetime.fromisoformat(published.result["as_of"]) if published else now
        return max(now, before).astimezone(UTC).isoformat()

    def _publish(self, day: Interval, fill: Callable[[Attempt], None], result: Mapping[str, Any]) -> Manifest:
        attempt = self.store.attempt(RAW, day.key)
        fill(attempt)
        content = {name: output.digest for name, output in attempt.outputs.items()}
        key = digest_of({**asdict(self.rules), "content": content})
        return attempt.publish(stage_key=key, code=self.rules.code, result=result)


def publish_table(
    store: Store, name: str, rows: Sequence[FileRows], files: Sequence[SourceFile], code: str
) -> Manifest:
    """Publish a side table, unless its content is what is there already.

    Args:
        store: Where to.
        name: Of the table.
        rows: Of its files.
        files: The same files, with their fingerprints.
        code: Digest of the code of this stage.
    """
    import pyarrow as pa

    types: dict[str, str] = {}
    for part in rows:
        for column in part.table.column_names:
            types[column] = unify(types.get(column, UNKNOWN), kind_of(part.table.column(column)))
    tables = [
        pa.table(
            {
                column: convert(part.table.column(column), types[column], name=column)
                for column in part.table.column_names
            }
        )
        for part in rows
    ]
    table = pa.concat_tables(tables, promote_options="default").combine_chunks()
    published = store.latest(f"{TABLE}{name}", WHOLE)
    if published is not None and published.outputs["rows"].digest == table_digest(table):
        return published
    attempt = store.attempt(f"{TABLE}{name}", WHOLE)
    output = attempt.put_table("rows", table)
    prints = [[file.name, file.fingerprint] for file in files]
    log.info("table %s: %s rows from %d files", name, f"{table.num_rows:,}", len(files))
    return attempt.publish(
        stage_key=digest_of({"content": output.digest, "code": code}),
        code=code,
        result={"rows": table.num_rows, "files": prints},
    )


def _is_wider(new: str, old: str) -> bool:
    return new != old and (old == UNKNOWN or (old, new) == ("int64", "double"))


def _same(published: Manifest, rows: pa.Table, quarantine: pa.Table) -> bool:
    outputs = published.outputs
    return outputs["rows"].digest == table_digest(rows) and outputs["quarantine"].digest == table_digest(quarantine)


def _put(attempt: Attempt, rows: pa.Table, quarantine: pa.Table) -> None:
    attempt.put_table("rows", rows)
    attempt.put_table("quarantine", quarantine)
