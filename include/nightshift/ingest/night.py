"""One night's ingest: find what is new, read it, account for every row, publish."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from nightshift.errors import DataError, SourceError
from nightshift.ingest.columns import MOMENT, kind_of, settle
from nightshift.ingest.days import FileAccount, Split, Splitter
from nightshift.ingest.formats import FileRows
from nightshift.ingest.snapshots import RAW, TABLE, WHOLE, DayRead, RawDays, Rules, publish_table
from nightshift.ingest.sources import Source, SourceFile, open_source
from nightshift.ingest.whole import last_conclusion, take_whole
from nightshift.plan import CODE_OF_STAGE, EVER, Interval, Plan, code_digest, digest_of
from nightshift.spec.problem import did_you_mean
from nightshift.stage import CONCLUDES, OUTCOME, StageIO, StageResult
from nightshift.storage import Manifest, Ref

log = logging.getLogger(__name__)

STAGE = "ingest"
READERS = 8
SHOWN = 10
Files = tuple[SourceFile, ...]


def run(plan: Plan, io: StageIO) -> StageResult:
    """Publish the raw rows of every day of the night's window that is missing or changed, and the side tables.

    Of a static source, all rows are one snapshot, new where the rows are. With nothing new, the night is over.

    Everything is read before anything is published, so a night that fails here leaves nothing behind;
    memory is that of the files read at once.

    Args:
        plan: The night.
        io: Where to write.

    Returns:
        ``rows_in``, ``rows_out`` and ``quarantined`` over all days of the window; ``days``, ``days_added``
        and ``days_changed``. Status ``skipped``, with the reason, where all that follows was done on an earlier night.

    Raises:
        SourceError: A file, package or column is missing, or a file cannot be read.
        DataError: A day that the source should have has no rows.
        StorageError: The store failed.
    """
    return Night.of(plan, io).run()


@dataclass(frozen=True)
class Night:
    """What a night's ingest works on.

    Attributes:
        source: The rows' source.
        tables: The side tables' sources, by name.
        found: Files of each expected day, oldest day first.
        side_files: Files of each side table.
    """

    plan: Plan
    io: StageIO
    raw: RawDays
    source: Source
    tables: Mapping[str, Source]
    found: Mapping[Interval, Files]
    side_files: Mapping[str, Files]

    @classmethod
    def of(cls, plan: Plan, io: StageIO) -> Night:
        """Raises SourceError: A place cannot be looked into, or a side table or static source has no file."""
        source = open_source(plan.spec.source)
        tables = {name: open_source(section) for name, section in sorted(plan.spec.tables.items())}
        found = {day: source.files(day.start.date()) for day in expected_days(plan)}
        if plan.spec.source.static:
            _require_files("the source", source, "source")
        side_files = {name: _require_files(f"table {name}", table, f"tables.{name}") for name, table in tables.items()}
        return cls(plan, io, RawDays(plan, io.store, Rules.of(plan)), source, tables, found, side_files)

    def run(self) -> StageResult:
        key = self._key()
        # Begun before looking: whoever publishes from here on overtakes this attempt, and is noticed.
        attempt = self.io.store.attempt(STAGE, self.plan.interval.key, began=self.io.began)
        done = self.io.store.find(STAGE, self.plan.interval.key, key)
        if done is not None:
            log.info("nothing to read: the source's files are the ones that %s was made from", done.ref)
            return StageResult.of(done, reused=True)
        before = self._published()
        due = self._due(before)
        read = [(file, self._read(file)) for file in _distinct(due.values())]
        log.info("read %s rows from %s", f"{sum(rows.count for _, rows in read):,}", _named(read))
        side_rows = {name: [self.tables[name].read(file) for file in files] for name, files in self.side_files.items()}
        split, types = self._split(due, read, before)
        self._book_dayless(split, before)
        after = self._publish(due, split, types, before)
        code = code_digest(CODE_OF_STAGE[STAGE])
        inputs = {f"{RAW}/{day.key}": manifest.ref for day, manifest in after.items()}
        for name, rows in side_rows.items():
            inputs[f"{TABLE}{name}"] = publish_table(self.io.store, name, rows, self.side_files[name], code).ref
        attempt.put("sources.json", self._sources(split.accounts))
        result = {**self._summary(before, after), **self._standstill(inputs)}
        return StageResult.of(attempt.publish(stage_key=key, code=code, inputs=inputs, result=result), reused=False)

    def _key(self) -> str:
        """Key of the night's result: the files as they are now, and the days they are for."""
        prints = {
            f"{RAW}/{day.key}": digest_of([[file.name, file.fingerprint] for file in files])
            for day, files in self.found.items()
        }
        for name, files in self.side_files.items():
            prints[f"{TABLE}{name}/{WHOLE}"] = digest_of([[file.name, file.fingerprint] for file in files])
        prints["quarantine.max_fraction"] = repr(self.plan.spec.quarantine.max_fraction)
        if self.plan.spec.source.static:
            before = last_conclusion(self.plan, self.io.store)
            prints |= {OUTCOME: self.plan.outcome_key({}), CONCLUDES: before.key if before else "none"}
        return self.plan.stage_key(STAGE, prints)

    def _standstill(self, inputs: Mapping[str, Ref]) -> dict[str, Any]:
        """Of a static source: the key of what the night will come to, and that nobody needs it to, if so."""
        if not self.plan.spec.source.static:
            return {}
        outcome = self.plan.outcome_key({name: ref.digest for name, ref in inputs.items()})
        before = last_conclusion(self.plan, self.io.store)
        if before is None or before.key != outcome:
            return {OUTCOME: outcome}
        log.info("%s", before.in_words)
        return {OUTCOME: outcome, "status": "skipped", "reason": before.in_words}

    def _published(self) -> dict[Interval, Manifest]:
        with ThreadPoolExecutor(READERS) as pool:
            latest = pool.map(lambda day: self.io.store.latest(RAW, day.key), self.found)
        return {day: manifest for day, manifest in zip(self.found, latest, strict=True) if manifest is not None}

    def _due(self, before: Mapping[Interval, Manifest]) -> dict[Interval, Files]:
        """Days to read, with their files.

        Raises:
            SourceError: A missing day has no file.
        """
        due = {day: files for day, files in self.found.items() if self.raw.needs_reading(before.get(day), files)}
        without = [day for day, files in due.items() if not files]
        if without:
            raise SourceError(
                f"the source has no file for {_listed(without)}; looked for "
                f"{', '.join(self.source.looked_for(day.start.date()) for day in without[:3])}"
                f"{', …' if len(without) > 3 else ''}.",
                hint="check source.uri; if the source begins later or has ended, set source.since or source.until",
            )
        own = self.plan.interval
        if due and own in self.found and self.found[own]:
            due[own] = self.found[own]  # it takes the rows that name no day
        return dict(sorted(due.items()))

    def _read(self, file: SourceFile) -> FileRows:
        spec, rows = self.plan.spec, self.source.read(file)
        time = () if spec.source.time is None else (spec.source.time,)
        key = [name for name in spec.key if name != spec.source.row_digest]
        wanted = {"source.time": time, "key": key, "label.column": (spec.label.column,)}
        there = rows.table.column_names
        for place, columns in wanted.items():
            for column in columns:
                if column not in there:
                    raise SourceError(
                        f"{file.name} has no column {column}, which {place} names; its columns: {', '.join(there)}.",
                        hint=did_you_mean(column, there) or f"correct the file, or {place} in the model spec",
                    )
        log.debug("read %s: %s rows", file.name, f"{rows.count:,}")
        return rows

    def _split(
        self,
        due: Mapping[Interval, Files],
        read: Sequence[tuple[SourceFile, FileRows]],
        before: Mapping[Interval, Manifest],
    ) -> tuple[Split, dict[str, str]]:
        """The rows of each day that is due, in types that fit all days.

        Raises:
            DataError: A day has no rows.
        """
        import pyarrow as pa

        section, max_fraction = self.plan.spec.source, self.plan.spec.quarantine.max_fraction
        known = {name: kind for name, kind in ((section.time, MOMENT), (section.row_digest, "string")) if name}
        found = [
            {name: kind_of(rows.table.column(name)) for name in rows.table.column_names if name not in known}
            for _, rows in read
        ]
        as_text = all(pa.types.is_string(kind) for _, rows in read for kind in rows.table.schema.types)
        kept = [manifest.result["types"] for day, manifest in before.items() if day not in due]
        types = {**settle(found, kept, as_text=as_text), **known}
        if section.time is None:
            split = take_whole(read, types, max_fraction=max_fraction, row_digest=section.row_digest)
        else:
            due_dates = {day.start.date(): files for day, files in due.items()}
            split = Splitter(self.source, section.time, types, due_dates, max_fraction).split(read)
        self._require_rows(split, due, {file.name: rows for file, rows in read})
        return split, types

    def _require_rows(self, split: Split, due: Mapping[Interval, Files], read: Mapping[str, FileRows]) -> None:
        empty = [day for day in due if not split.days[day.start.date()].count]
        if not empty:
            return
        bare = sorted({file.name for day in empty for file in due[day] if not read[file.name].count})
        if bare:
            raise SourceError(
                f"{', '.join(bare[:SHOWN])} {'has a header' if len(bare) == 1 else 'have headers'} but no rows; "
                f"nothing for {_listed(empty)}.",
                hint="wait for the writer to finish, then run the night again",
            )
        names = sorted({file.name for day in empty for file in due[day]})
        raise DataError(
            f"the source has no rows for {_listed(empty)}; looked in {', '.join(names[:SHOWN])}"
            f"{', …' if len(names) > SHOWN else ''}. Nothing of this night was published.",
            hint="run the night again when the rows are there; if the source begins later or has ended, "
            "set source.since or source.until",
        )

    def _book_dayless(self, split: Split, before: Mapping[Interval, Manifest]) -> None:
        """Give each quarantined row without a day to the day that has it already, else to the night's own."""
        if not split.dayless:
            return
        booked = self.raw.booked_before(before)
        own = self.plan.interval
        for row in split.dayless:
            day = booked.get(row.identity, own).start.date()
            if day in split.days:
                split.days[day].quarantined.append(row)

    def _publish(
        self, due: Mapping[Interval, Files], split: Split, types: Mapping[str, str], before: Mapping[Interval, Manifest]
    ) -> dict[Interval, Manifest]:
        after = dict(before)
        for day, files in due.items():
            rows = split.days[day.start.date()]
            after[day] = self.raw.publish(day, DayRead(rows.table(), rows.quarantined, files, types), before.get(day))
        for day in [day for day in before if day not in due]:
            after[day] = self.raw.restate(day, after[day], types) if due else after[day]
            if self.raw.labels_became_known(day, after[day]):
                after[day] = self.raw.confirm(day, after[day])
        return dict(sorted(after.items()))

    def _sources(self, accounts: Sequence[FileAccount]) -> bytes:
        """``sources.json``: every file with its fingerprint, and where the rows of those read now went."""
        read = {account.name: asdict(account) for account in accounts}
        files = [
            read.get(file.name, {"name": file.name, "fingerprint": file.fingerprint})
            for file in _distinct(self.found.values())
        ]
        tables = {
            name: [{"name": file.name, "fingerprint": file.fingerprint} for file in found]
            for name, found in self.side_files.items()
        }
        return json.dumps({"source": files, "tables": tables}, indent=1, ensure_ascii=False).encode()

    def _summary(self, before: Mapping[Interval, Manifest], after: Mapping[Interval, Manifest]) -> dict[str, Any]:
        changed = [day for day in before if after[day].digest != before[day].digest]
        totals = {
            name: sum(manifest.result[name] for manifest in after.values())
            for name in ("rows_in", "rows_out", "quarantined")
        }
        summary = {**totals, "days": len(after), "days_added": len(after) - len(before), "days_changed": len(changed)}
        log.info(
            "%s days in the window, %s added, %s changed: %s rows in = %s out + %s quarantined",
            *(
                f"{summary[name]:,}"
                for name in ("days", "days_added", "days_changed", "rows_in", "rows_out", "quarantined")
            ),
        )
        return summary


def expected_days(plan: Plan) -> list[Interval]:
    """Days of the window that the source has, oldest first; of a static source, all time as one.

    Raises:
        DataError: None, or not the night's own.
    """
    source = plan.spec.source
    days = [
        day
        for day in plan.windows.ingest.days()
        if (source.since is None or source.since <= day.start) and (source.until is None or day.end <= source.until)
    ]
    if plan.own not in days:
        raise DataError(
            f"the night's own day {plan.interval.key} lies outside the source "
            f"(source.since {_day(source.since)}, source.until {_day(source.until)}).",
            hint="choose another night, or correct source.since and source.until",
        )
    return days


def _day(moment: Any) -> str:
    return moment.date().isoformat() if moment else "not set"


def _require_files(name: str, table: Source, section: str) -> Files:
    files = table.files(None)
    if not files:
        raise SourceError(f"{name} has no file; looked for {table.looked_for(None)}.", hint=f"check {section}.uri")
    return files


def _distinct(groups: Iterable[Files]) -> list[SourceFile]:
    return list(dict.fromkeys(file for files in groups for file in files))


def _named(read: Sequence[tuple[SourceFile, FileRows]]) -> str:
    return read[0][0].name if len(read) == 1 else f"{len(read)} files"


def _listed(days: Sequence[Interval]) -> str:
    more = f" and {len(days) - SHOWN} more days" if len(days) > SHOWN else ""
    return ", ".join("the snapshot" if day == EVER else day.key for day in days[:SHOWN]) + more
