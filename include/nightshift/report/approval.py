"""What a person is asked before a version ships: the question, readable where Airflow shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from nightshift.deploy.candidates import answered, newer_candidate, newest_candidate, superseded
from nightshift.ledger import Candidate, Entry, Ledger, blessings
from nightshift.ledger.registered import candidate_of
from nightshift.plan import Interval
from nightshift.report.nights import lineage
from nightshift.spec.values import format_duration
from nightshift.storage import Manifest, Ref, Store

MARKUP = re.compile(r"([\\`*_\[\]<>|#~!])")


@dataclass(frozen=True)
class Question:
    """May this version ship?

    Attributes:
        store: The model's area.
        model: Its name.
        registration: What register published about the version.
    """

    store: Store
    model: str
    registration: Manifest

    @classmethod
    def find(cls, store: Store, model: str, interval: Interval | None) -> Question | None:
        """About the newest version that has passed its gates; None if there is none.

        Args:
            store: The model's area.
            model: Its name.
            interval: Of the night to look at; None for the newest.

        Raises:
            IntegrityError: A registration is damaged.
            StorageError: The store failed.
        """
        found = newest_candidate(Ledger(store), interval=interval.key if interval else None)
        return cls(store, model, found) if found else None

    @property
    def candidate(self) -> Candidate:
        return candidate_of(self.registration)

    @property
    def refs(self) -> dict[str, Ref]:
        """The versions of the night that deploy and the report need, by stage."""
        known = {**self.registration.inputs, "register": self.registration.ref}
        stages = lineage(self.store, self.registration.interval)
        newest = "evaluate" in stages and stages["evaluate"].ref == known["evaluate"]
        before: dict[str, Ref] = {
            stage: stages[stage].ref for stage in ("ingest", "validate") if newest and stage in stages
        }
        return {**before, **known}

    def settled(self) -> str | None:
        """Why nobody needs to be asked any more, or None.

        Raises:
            IntegrityError: The ledger, a registration or the evaluation is damaged.
            StorageError: The store failed.
        """
        ledger, candidate = Ledger(self.store), self.candidate
        entry = answered(ledger, candidate)
        if entry is not None:
            return f"v{candidate.model_version} is settled: {entry.kind} by {entry.by}, ledger entry {entry.sequence}."
        opponent = self._evaluate.result.get("champion_version")
        obstacle = ledger.obstacle(candidate, opponent, approved=True)
        if obstacle is not None:
            return obstacle.text
        newer = newer_candidate(ledger, candidate)
        return superseded(newer) if newer else None

    def subject(self) -> str:
        return f"{self.model}: may v{self.candidate.model_version} of night {self.candidate.interval.night} ship?"

    def body(self, *, report: str, timeout: timedelta) -> str:
        """The question in Markdown, with all that an answer needs.

        Args:
            report: Link to the run report.
            timeout: How long an answer is waited for.

        Raises:
            IntegrityError: Something published is damaged.
            StorageError: The store failed.
        """
        evaluation = json.loads(self.store.read(self._evaluate, "evaluation.json"))
        quality = blessings.read(self.store, self._evaluate)
        data = blessings.read(self.store, self.store.resolve(self._evaluate.inputs["preprocess"]))
        hold = Ledger(self.store).hold()
        parts = [
            f"**{_plain(self.model)} v{self.candidate.model_version}**, night {self.candidate.interval.night}: "
            f"**{_plain(evaluation['verdict'].replace('_', ' '))}**. {_plain(self._evaluate.result['sentence'])}",
            "\n".join(_comparison(evaluation, self.candidate.model_version)),
            "\n".join(_to_look_at(evaluation, (data, quality), hold)),
            "\n".join(f"- {blessing.kind} blessing: {_tally(blessing)}" for blessing in (data, quality)),
            f"[Run report]({report})",
            self._consequences(evaluation, timeout),
        ]
        return "\n\n".join(part for part in parts if part)

    @property
    def _evaluate(self) -> Manifest:
        return self.store.resolve(self.registration.inputs["evaluate"])

    def _consequences(self, evaluation: Mapping[str, Any], timeout: timedelta) -> str:
        version, champion = f"v{self.candidate.model_version}", evaluation["champion"]
        takes = f"replaces champion v{champion['version']}" if champion else "becomes the first champion"
        stays = f"champion v{champion['version']} stays" if champion else "there is still no champion"
        undo = f" To undo: `nightshift rollback {self.model}`." if champion else ""
        return (
            f"- **Approve**: a fresh process loads {version} and reproduces its golden rows, fast enough (the infra "
            f"blessing); then it {takes}, in your name.{undo}\n"
            f"- **Reject**: {stays}; the ledger keeps your name and comment.\n"
            f"- **No answer** within {format_duration(timeout)}: it is rejected. If a newer night's version comes "
            "first, that one is asked about, and this answer changes nothing any more."
        )


def _comparison(evaluation: Mapping[str, Any], version: int) -> Iterator[str]:
    metric, champion = evaluation["metric"], evaluation["champion"] or {}
    ours = champion.get("challenger_on_same_rows") or evaluation["challenger"]["metrics"]
    rows = champion.get("rows") or evaluation["holdout"]["rows"]
    yield f"| {_plain(metric)} | on {rows:,} held-out rows |"
    yield "| --- | --- |"
    yield f"| v{version} | {_number(ours.get(metric))} |"
    if not champion:
        return
    theirs = (champion.get("metrics") or {}).get(metric)
    days = champion.get("age_days")
    age = f", {days} day{'s' if days > 1 else ''} older" if days else ""
    yield f"| champion v{champion['version']}{age} | {_number(theirs)} |"
    gain = (champion.get("gains") or {}).get("deciding")
    if gain:
        value, lower, upper = (f"{gain[name]:+.4f}".replace("-", "−") for name in ("value", "lower", "upper"))
        interval = (
            f"{gain['confidence']:.0%} interval {lower} to {upper}, from {gain['days']} {champion.get('unit', 'day')}s"
        )
        yield f"| gain | {value}, {interval} |"


def _to_look_at(
    evaluation: Mapping[str, Any], judged: tuple[blessings.Blessing, ...], hold: Entry | None
) -> Iterator[str]:
    """What an approver should not overlook, as a list."""
    found = list(evaluation.get("warnings") or ())
    for blessing in judged:
        for check in blessing.failed:
            by = f" (waived by {blessing.waived_by.by})" if blessing.waived_by else ""
            found.append(f"{blessing.kind}, {check.name}{by}: {check.text}")
    if hold is not None:
        found.append(
            f"Automatic promotion is on hold since {hold.at} by {hold.by}: {hold.reason} An approval promotes all the "
            "same, and the hold stays."
        )
    if found:
        yield "**Look at this first**\n"
    for text in found:
        yield f"- {_plain(text)}"


def _tally(blessing: blessings.Blessing) -> str:
    held = len(blessing.checks) - len(blessing.failed)
    return f"{blessing.verdict}, {held} of {len(blessing.checks)} checks hold"


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "not comparable"


def _plain(text: str) -> str:
    """Text that came with the data, kept from being read as Markdown."""
    return MARKUP.sub(r"\\\1", " ".join(str(text).split()))
