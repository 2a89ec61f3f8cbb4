"""One night's validation: judge the days that are new, publish the good ones, block the night if any is bad."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nightshift.errors import ValidationFailed
from nightshift.ledger.blessings import Blessing, Check, keep_failed
from nightshift.plan import CODE_OF_STAGE, Interval, Plan, code_digest, digest_of
from nightshift.shift.summary import summarize
from nightshift.stage import StageIO, StageResult, once
from nightshift.storage import Attempt, Manifest, Ref
from nightshift.validate.docs import PAGE, render
from nightshift.validate.expectations import Judgement, Suite
from nightshift.validate.labels import require_labels, unknown_labels, window_labels
from nightshift.validate.neighbours import check_content, check_schema, check_volume, dials_of, require_known
from nightshift.validate.rows import check_rows
from nightshift.validate.statistics import column_statistics, counted_of, label_counts, no_classes
from nightshift.validate.verdict import DayVerdict, Outcome, blocked, to_json

log = logging.getLogger(__name__)

STAGE = "validate"
VALID = "valid"
REJECTED = "rejected"
RAW_PREFIX = "raw/"
TABLE_PREFIX = "table."
READERS = 8


def run(plan: Plan, io: StageIO) -> StageResult:
    """Publish the clean rows of every raw day that was not judged before, or block the night.

    A day is judged once for the same raw rows, rules and code. Days that pass are published even when
    another day blocks the night; of a blocked day only the evidence is kept, as ``rejected/<day>``.

    Args:
        plan: The night.
        io: Has the result of ingest upstream.

    Returns:
        ``rows_in``, ``rows_out``, ``quarantined`` and the labels' counts (``labelled``, ``unlabelled``, by task
        ``positives`` or ``class.NAME``) over all days of the window; ``expectations``, ``days_validated`` (judged now)
        and ``warnings``.

    Raises:
        ValidationFailed: A day, or the labels of a window, must not be trained on.
        SpecError: An expectation or the label rule cannot be used.
        StorageError: The store failed.
    """
    given = io.given("ingest")
    raw = {
        ref.interval: io.store.resolve(ref) for name, ref in sorted(given.inputs.items()) if name.startswith(RAW_PREFIX)
    }
    tables = {name: ref for name, ref in given.inputs.items() if name.startswith(TABLE_PREFIX)}
    days = {day: raw[day.key] for day in plan.windows.ingest.days() if day.key in raw}
    return Night(plan, io, days, tables).run()


@dataclass
class Night:
    """What a night's validation works on, and what it has found so far.

    Attributes:
        raw: Raw version of each day, oldest first.
        tables: Side tables, passed on.
        valid: Published version of each good day.
        problems: What blocks the night, by day.
        evidence: URI of what was kept of each blocked day.
        judged: Days that were judged on this night.
        warnings: What is worth a look in them.
        documents: Pages about the night's own day, by name.
    """

    plan: Plan
    io: StageIO
    raw: Mapping[Interval, Manifest]
    tables: Mapping[str, Ref]
    valid: dict[Interval, Manifest] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)
    judged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    documents: Mapping[str, bytes] = field(default_factory=dict)

    def run(self) -> StageResult:
        if newest := max(self.raw, default=None):
            require_known(self.plan.spec, tuple(self.raw[newest].outputs["rows"].schema))
        before = self._published()
        for day, raw in self.raw.items():
            if day in before:
                self._recheck(day, before[day])
            else:
                self._judge(day, raw)
        labels = window_labels(self.plan, {day: manifest.result for day, manifest in self.valid.items()})
        if self.problems:
            self._keep({f"validation.{day}": "; ".join(found) for day, found in sorted(self.problems.items())})
            raise blocked(self.problems, self.evidence)
        try:
            self.warnings += require_labels(self.plan, labels)
        except ValidationFailed as error:
            self._keep({"labels": error.message})
            raise
        inputs = {f"{VALID}/{day.key}": manifest.ref for day, manifest in self.valid.items()}
        return once(self.plan, self.io, STAGE, {**inputs, **self.tables}, lambda attempt: self._fill(attempt, labels))

    def _keep(self, failed: Mapping[str, str]) -> None:
        """Publish the failed verdict on the night's data: there will be no data blessing that says it."""
        checks = [Check(name, False, None, None, text) for name, text in failed.items()]
        evidence = ", ".join(f"{REJECTED}/{day}" for day in sorted(self.evidence)) or "the counts of validate"
        verdict = Blessing.judged("data", checks, interval=self.plan.interval.key, evidence=evidence)
        inputs = {f"raw/{day.key}": manifest.ref for day, manifest in self.raw.items()}
        keep_failed(self.io.store, verdict, code=self._code, inputs=inputs)

    # -- days ----------------------------------------------------------------------------------------

    def _published(self) -> dict[Interval, Manifest]:
        def find(day: Interval) -> Manifest | None:
            return self.io.store.find(VALID, day.key, self._key(self.raw[day]))

        with ThreadPoolExecutor(READERS) as pool:
            found = zip(self.raw, pool.map(find, self.raw), strict=True)
            return {day: manifest for day, manifest in found if manifest is not None}

    def _key(self, raw: Manifest) -> str:
        """Key of a day's verdict: its rows, the rules and the code; not the night."""
        spec = self.plan.spec.model_dump(mode="json")
        label = {name: spec["label"][name] for name in ("column", "task", "positive", "classes")}
        rules = {name: spec[name] for name in ("expectations", "quarantine", "volume", "data_checks", "key")}
        rules["forbidden"] = spec["features"]["forbidden"]
        rows = raw.outputs["rows"].digest
        return digest_of({"rows": rows, "rules": {**rules, "label": label}, "code": self._code})

    @cached_property
    def _code(self) -> str:
        return code_digest(CODE_OF_STAGE[STAGE])

    @cached_property
    def _suite(self) -> Suite | None:
        return Suite(self.plan.spec.expectations) if self.plan.spec.expectations else None

    def _recheck(self, day: Interval, published: Manifest) -> None:
        """A day that was judged before: its rows are the same, but by now its labels may have to be known."""
        problem = unknown_labels(self.plan, day, published.result)
        if problem is None:
            self.valid[day] = published
        else:
            rows = self.io.store.read_table(self.raw[day], "rows")
            self._reject(day, DayVerdict(day.key, rows, problems=[problem]))

    def _judge(self, day: Interval, raw: Manifest) -> None:
        verdict = DayVerdict(day.key, self.io.store.read_table(raw, "rows"))
        spec = self.plan.spec
        check_volume(verdict, spec.volume, [manifest.result["rows_in"] for manifest in self.valid.values()])
        earlier = max(self.valid, default=None)
        same_schema = earlier is None or check_schema(verdict, self.valid[earlier].outputs["rows"].schema, earlier.key)
        judgement = self._expect(verdict)
        labels = dict.fromkeys(counted_of(spec.label), 0)
        if same_schema:
            check_content(verdict, dials_of(spec), [manifest.result["shape"] for manifest in self.valid.values()])
            check_rows(verdict, spec.key)
            self._set_unknown_classes_aside(verdict)
            labels = label_counts(verdict.clean(), spec.label)
            problem = unknown_labels(self.plan, day, labels)
            verdict.problems += [problem] if problem else []
        verdict.check_budget(spec.quarantine.max_fraction)
        self.judged.append(day.key)
        self.warnings += [f"{day.key}: {warning}" for warning in verdict.warnings]
        if judgement is not None and (verdict.problems or day == self.plan.own):
            self.documents = verdict.documents = self._page(judgement, day.key)
        if verdict.problems:
            self._reject(day, verdict)
        else:
            self.valid[day] = self._publish(day, raw, verdict, labels)

    def _expect(self, verdict: DayVerdict) -> Judgement | None:
        """Let Great Expectations judge a day."""
        if self._suite is None:
            return None
        judgement = self._suite.judge(verdict.rows)
        verdict.outcomes = judgement.outcomes
        for outcome in judgement.outcomes:
            if not outcome.success:
                verdict.problems.append(outcome.in_words())
            column = verdict.rows.column(outcome.column) if outcome.column in verdict.rows.column_names else None
            for position in judgement.failing[outcome.place]:
                value = "" if column is None else f"; value is {str(column[position].as_py())[:40]!r}"
                verdict.set_aside([position], f"{outcome.title}{value}")
        return judgement

    def _set_unknown_classes_aside(self, verdict: DayVerdict) -> None:
        label = self.plan.spec.label
        for position in no_classes(verdict.rows, label):
            value = str(verdict.rows.column(label.column)[position].as_py())[:40]
            verdict.set_aside([position], f"{label.column} is none of label.classes; value is {value!r}")

    # -- publishing ----------------------------------------------------------------------------------

    def _publish(self, day: Interval, raw: Manifest, verdict: DayVerdict, labels: Mapping[str, int]) -> Manifest:
        clean = verdict.clean()
        attempt = self.io.store.attempt(VALID, day.key)
        attempt.put_table("rows", clean)
        attempt.put_table("quarantine", verdict.quarantine())
        # No part of the content: the same clean rows under other rules are the same rows to train on.
        attempt.put("verdict.json", verdict.to_json(), incidental=True)
        result = {
            "rows_in": verdict.rows.num_rows,
            "rows_out": clean.num_rows,
            "quarantined": len(verdict.reasons),
            **labels,
            "warnings": verdict.warnings,
            "columns": column_statistics(clean),
            "shape": {name: summarize(clean.column(name)) for name in clean.column_names},
            "expectations": [_counts(outcome) for outcome in verdict.outcomes],
        }
        for warning in verdict.warnings:
            log.warning("%s: %s", day.key, warning)
        return attempt.publish(stage_key=self._key(raw), code=self._code, inputs={"raw": raw.ref}, result=result)

    def _reject(self, day: Interval, verdict: DayVerdict) -> None:
        """Keep the evidence of a blocked day where no reader of good days looks."""
        self.problems[day.key] = verdict.problems
        key = digest_of({"day": self._key(self.raw[day]), "problems": verdict.problems})
        kept = self.io.store.find(REJECTED, day.key, key)
        if kept is None:
            attempt = self.io.store.attempt(REJECTED, day.key)
            attempt.put_table("quarantine", verdict.quarantine())
            attempt.put("verdict.json", verdict.to_json())
            for name, document in verdict.documents.items():
                attempt.put(name, document, incidental=True)
            result = {"problems": verdict.problems}
            kept = attempt.publish(stage_key=key, code=self._code, inputs={"raw": self.raw[day].ref}, result=result)
        page = PAGE if PAGE in verdict.documents else "verdict.json"
        self.evidence[day.key] = self.io.store.objects.uri(f"{kept.folder}/{page}")
        log.error("%s is blocked: %d problems", day.key, len(verdict.problems))

    def _fill(self, attempt: Attempt, labels: Mapping[str, Any]) -> dict[str, Any]:
        for name, page in (self.documents or self._own_documents()).items():
            attempt.put(name, page, incidental=True)
        results = [manifest.result for manifest in self.valid.values()]
        names = ("rows_in", "rows_out", "quarantined", *counted_of(self.plan.spec.label))
        totals = {name: sum(result[name] for result in results) for name in names}
        attempt.put("verdict.json", self._verdict(totals, labels))
        log.info(
            "%d days in the window, %d judged now: %s rows in = %s out + %s quarantined; %s unlabelled",
            *(len(results), len(self.judged)),
            *(f"{totals[name]:,}" for name in ("rows_in", "rows_out", "quarantined", "unlabelled")),
        )
        return {
            **totals,
            "expectations": len(self.plan.spec.expectations),
            "days": len(results),
            "days_validated": len(self.judged),
            "warnings": self.warnings,
        }

    def _own_documents(self) -> Mapping[str, bytes]:
        """The page of the night's own day, where the day itself was judged on another night."""
        if self._suite is None or self.plan.own not in self.raw:
            return {}
        rows = self.io.store.read_table(self.raw[self.plan.own], "rows")
        return self._page(self._suite.judge(rows), self.plan.own.key)

    def _page(self, judgement: Judgement, day: str) -> Mapping[str, bytes]:
        return {PAGE: render(judgement.result, model=self.plan.model, day=day)}

    def _verdict(self, totals: Mapping[str, int], labels: Mapping[str, Any]) -> bytes:
        """The night's ``verdict.json``: sums over the window, and every expectation over all days and on the own."""
        own = self.valid[self.plan.own].result["expectations"] if self.plan.own in self.valid else []
        window: dict[str, dict[str, Any]] = {}
        for manifest in self.valid.values():
            for counts in manifest.result["expectations"]:
                sums = window.setdefault(counts["place"], {**counts, "rows": 0, "failed": 0, "days": 0})
                sums["rows"] += counts["rows"]
                sums["failed"] += counts["failed"]
                sums["days"] += 1
        days = [
            {
                "day": day.key,
                **{name: manifest.result[name] for name in totals},
            }
            for day, manifest in self.valid.items()
        ]
        return to_json(
            {
                "interval": self.plan.interval.key,
                "verdict": "passed",
                "totals": totals,
                "labels": labels,
                "expectations": {"own_day": own, "window": list(window.values())},
                "warnings": self.warnings,
                "days": days,
            }
        )


def _counts(outcome: Outcome) -> dict[str, Any]:
    """What a manifest keeps of an outcome: numbers, no values of rows."""
    return {
        "place": outcome.place,
        "title": outcome.title,
        "mostly": outcome.mostly,
        "rows": outcome.rows,
        "failed": outcome.failed,
    }
