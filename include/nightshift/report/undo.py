"""What takes back what a night did, or lets it ship after all: a sentence with a command that works."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.ledger import Entry, reigns
from nightshift.ledger.blessings import waive_command
from nightshift.plan import Interval
from nightshift.report.nights import Night

NOTHING = "Nothing was moved, so there is nothing to undo."


def way_back(entries: Sequence[Entry], model: str) -> str:
    """How the champion is taken back, if there is another to go to."""
    previous = reigns.roles(entries).previous
    if previous is None:
        return (
            "There is no champion before it to go back to; to keep nights from promoting: "
            f'nightshift hold {model} --reason "..."'
        )
    return f"To go back to v{previous}: nightshift rollback {model}"


def undo(entries: Sequence[Entry], model: str, night: Night, *, stands: bool = True) -> str:
    """What takes back what a run did.

    Args:
        entries: The ledger.
        model: The model's name.
        night: How the run ended.
        stands: No newer run of the same night stands instead.
    """
    version = night.model_version
    gone = reigns.retired(entries).get(version or 0)
    if gone is not None:
        return (
            f"Its v{version} was retired on {gone.at} by {gone.by}, which cannot be undone. For a new version of the "
            f"night, change code or spec and run it again: nightshift run {model} --night {night.night}"
        )
    if night.promoted:
        if reigns.roles(entries).champion == version:
            return f"Its v{version} is champion. {way_back(entries, model)}"
        return (
            f"Its v{version} was champion, and is no more. To have it again: nightshift rollback {model} --to {version}"
        )
    if night.verdict not in ("refused", "kept", "waiting") or not stands:
        return NOTHING
    return f"{NOTHING} {_after_all(entries, model, night)}"


def _after_all(entries: Sequence[Entry], model: str, night: Night) -> str:
    """How a version ships that did not."""
    newer = reigns.newer_champion(entries, Interval.of_key(night.interval))
    if newer is not None:
        return (
            f"Its v{night.model_version} cannot ship any more: champion v{newer.model_version} is of a newer night, "
            f"{newer.interval.night}."
        )
    if night.verdict == "refused":
        return (
            "To let it ship all the same, with your name to it: "
            f"{waive_command(model, night.night, 'quality')}; then: nightshift run {model} --night {night.night}"
        )
    return f"To promote its version: nightshift promote {model} --version {night.model_version}"
