"""What differs between two nights: rows, metrics, data, code, spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nightshift.plan import Plan
from nightshift.report.nights import Night
from nightshift.storage import Manifest

SHORT = 12
LONGEST = 60
MOST_DAYS = 5
Manifests = Mapping[str, Manifest]


def differences(before: Night, night: Night, manifests: tuple[Manifests, Manifests]) -> Iterator[str]:
    """A line for each number, table and stage that is another one than before; the same is passed over.

    Args:
        before: The night before.
        night: The night.
        manifests: Of the two, by stage.
    """
    if "skipped" in (before.verdict, night.verdict):
        yield from _changed("verdict", before.verdict, night.verdict)
        return  # a night that had nothing to do has no numbers
    for what, was, now in (
        ("rows in", before.rows_in, night.rows_in),
        ("quarantined", before.quarantined, night.quarantined),
        ("unlabelled", before.unlabelled, night.unlabelled),
        ("verdict", before.verdict, night.verdict),
    ):
        yield from _changed(what, was, now)
    older, newer = manifests
    for name, was, now in _paired(_metrics(older), _metrics(newer)):
        yield from _changed(f"{name} of the challenger", was, now)
    yield from _days(older, newer)
    yield from _tables(older, newer)
    stages = [stage for stage in newer if stage in older and newer[stage].code != older[stage].code]
    if stages:
        yield f"code of {', '.join(stages)}"


def spec_differences(before: Plan, plan: Plan) -> Iterator[str]:
    """A line for each key of the spec that says something else, with both values where they are short."""
    was, now = (dict(_flat(one.spec.model_dump(mode="json"))) for one in (before, plan))
    for key, one, other in _paired(was, now):
        if one == other:
            continue
        shown = f"{one!r} -> {other!r}"
        yield f"spec {key}: {shown}" if len(shown) <= LONGEST else f"spec {key} was changed"


def _changed(what: str, was: Any, now: Any) -> Iterator[str]:
    if was == now:
        return
    numbers = isinstance(was, int | float) and isinstance(now, int | float)
    yield f"{what}: {_shown(was)} -> {_shown(now)}" + (f" ({now - was:+,.6g})" if numbers else "")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _metrics(manifests: Manifests) -> dict[str, float]:
    evaluate = manifests.get("evaluate")
    found = (evaluate.result.get("challenger") if evaluate else None) or {}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _paired(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in {**was, **now}:
        yield key, was.get(key), now.get(key)


def _days(older: Manifests, newer: Manifests) -> Iterator[str]:
    """A window moves on by a day each night; a day that both nights used and whose rows changed is what to look at."""
    was, now = ({name: ref.digest for name, ref in _inputs(one).items()} for one in (older, newer))
    if not was or not now:
        return
    for what, days in (
        ("new in the window", now.keys() - was.keys()),
        ("no more in the window", was.keys() - now.keys()),
        ("with other content than the night before", {day for day in was.keys() & now.keys() if was[day] != now[day]}),
    ):
        if days:
            listed = sorted(day.rpartition("/")[2] for day in days)
            more = f" and {len(listed) - MOST_DAYS} more" if len(listed) > MOST_DAYS else ""
            yield f"days {what}: {', '.join(listed[:MOST_DAYS])}{more}"


def _inputs(manifests: Manifests) -> dict[str, Any]:
    validate = manifests.get("validate")
    return {name: ref for name, ref in validate.inputs.items() if name.startswith("valid/")} if validate else {}


def _tables(older: Manifests, newer: Manifests) -> Iterator[str]:
    was, now = (one["preprocess"].outputs if "preprocess" in one else {} for one in (older, newer))
    for name in ("train", "holdout"):
        if name in was and name in now and was[name].digest != now[name].digest:
            yield (
                f"{name} table: {was[name].rows:,} -> {now[name].rows:,} rows, "
                f"digest {was[name].digest[:SHORT]} -> {now[name].digest[:SHORT]}"
            )


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested sections by its dotted key; a list is one value."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value
