"""What a static source, whose rows have no time, demands of the other sections, and what makes no sense with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nightshift.spec.problem import Problem, did_you_mean

if TYPE_CHECKING:
    from nightshift.spec.base import SpecModel
    from nightshift.spec.data_checks import DataChecks
    from nightshift.spec.models import FilesTable, ModelSpec, PackageTable, Span
    from nightshift.spec.problem import YamlPath

OF_DAYS = ("unit_shift", "sentinel", "nulls", "dominance", "explosion", "past")
"""Data checks that hold a day against other days."""


def headerless(table: PackageTable | FilesTable, name: str) -> Iterator[Problem]:
    """Names of columns that the file does not name itself.

    Args:
        table: The section.
        name: The file's name, whose ending tells the format.
    """
    if table.columns and (table.format or ("parquet" if name.lower().endswith(".parquet") else "csv")) == "parquet":
        yield Problem("a parquet file names its columns itself.", ("columns",), hint="drop the key", is_key=True)
    for number, column in enumerate(table.columns):
        if column.lower() in [other.lower() for other in table.columns[:number]]:
            yield Problem(f"{column} is listed twice; Spark tells no upper case from lower.", ("columns", number))


def source(section: Span) -> Iterator[Problem]:
    """A source has days or it is static."""
    if section.static:
        for key in ("time", "since", "until"):
            if getattr(section, key) is not None:
                yield _needless(
                    "a static source has no days: every night reads all of its rows.", (key,), "or drop static: true"
                )
    elif section.time is None:
        yield Problem(
            "this key is missing: column with the moment a row belongs to.",
            ("time",),
            hint="add a line such as time: created_at; if rows have no time, write static: true and a split",
        )
    if section.row_digest is not None and not section.static:
        yield _needless("only rows of a static source get a digest; others have a key.", ("row_digest",))


def _needless(message: str, at: YamlPath, otherwise: str = "") -> Problem:
    return Problem(message, at, hint=f"drop the key{f', {otherwise}' if otherwise else ''}", is_key=True)


# -- rules between sections: each says which top-level keys it reads --------------------------------------


def holdout_is_told(spec: ModelSpec) -> Iterator[Problem]:
    """A window of days, or a split of keys."""
    if spec.source.static:
        if spec.window is not None:
            yield Problem(
                "a static source has no days that a window could be made of.",
                ("window",),
                hint="write split: {holdout: 0.2} instead: a share of the rows, chosen by a hash of their keys",
                is_key=True,
            )
        elif spec.split is None:
            yield _missing("split", "which rows of a static source are held out.", "split: {holdout: 0.2}")
        return
    if spec.split is not None:
        yield _needless("split is for a static source; here the window says what is held out.", ("split",))
    if spec.window is None:
        yield _missing("window", "how much history a night uses.", "window: {train: 60d, holdout: 14d}")


def _missing(key: str, meaning: str, example: str) -> Problem:
    return Problem(f"this key is missing: {meaning}", (key,), hint=f"add a line such as {example}")


def nothing_is_by_day(spec: ModelSpec) -> Iterator[Problem]:
    """Keys that compare days, or wait for them, would do nothing."""
    if not spec.source.static:
        return
    if spec.label.delay:
        yield _needless("labels of a static source come with its rows.", ("label", "delay"))
    for key in ("versus_trailing", "trailing_days"):
        if _is_set(spec.volume, key):
            yield _needless("a static source has no days before.", ("volume", key), "or write volume.minimum")
    yield from _checks_of_days(spec.data_checks)
    if _is_set(spec.gates.versus_champion.least, "days"):
        at = ("gates", "versus_champion", "least", "days")
        yield _needless("rows of a static source have no day; each counts for itself.", at, "or write least.rows")


def _checks_of_days(dials: DataChecks) -> Iterator[Problem]:
    for key in OF_DAYS:
        if _is_set(dials, key):
            yield _needless(f"{key} holds a day against other days.", ("data_checks", key))
    for column, names in dials.relaxed.items():
        for number, name in enumerate(names):
            if name in OF_DAYS:
                yield Problem(
                    f"{name} holds a day against other days, and a static source has none.",
                    ("data_checks", "relaxed", column, number),
                    hint="drop it",
                )


def _is_set(section: SpecModel, key: str) -> bool:
    default: Any = type(section).model_fields[key].default
    return bool(getattr(section, key) != default)


def digest_is_the_key(spec: ModelSpec) -> Iterator[Problem]:
    name = spec.source.row_digest
    if name is not None and name not in spec.key:
        yield Problem(f"{name} is added for the key, which does not name it.", ("key",), hint=f"write key: [{name}]")


def columns_are_there(spec: ModelSpec) -> Iterator[Problem]:
    """Where the spec names the source's columns, other names are known to be wrong before anything is read."""
    listed = spec.source.columns
    if not listed:
        return
    added = spec.source.row_digest
    if added is not None and added.lower() in [name.lower() for name in listed]:
        yield Problem(
            f"{added} is a column of the file already.", ("source", "row_digest"), hint="give the digest another name"
        )
    there = [*listed, *([added] if added else [])]
    used: list[tuple[YamlPath, str]] = [(("key", number), name) for number, name in enumerate(spec.key)]
    used.append((("label", "column"), spec.label.column))
    if spec.source.time is not None:
        used.append((("source", "time"), spec.source.time))
    for at, name in used:
        if name not in there:
            yield Problem(
                f"{name} is not among source.columns.",
                at,
                hint=did_you_mean(name, there) or "add it to source.columns, in the place that it has in the file",
            )


BETWEEN_SECTIONS = (
    (holdout_is_told, {"source", "window", "split"}),
    (nothing_is_by_day, {"source", "label", "volume", "data_checks", "gates"}),
    (digest_is_the_key, {"source", "key"}),
    (columns_are_there, {"source", "key", "label"}),
)
