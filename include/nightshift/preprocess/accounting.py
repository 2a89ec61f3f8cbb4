"""Where every row went: rows in = train + holdout + unlabelled + outside the windows + filtered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nightshift.errors import DataError
from nightshift.plan import Plan
from nightshift.preprocess.axis import HOLDOUT, OUTSIDE, TRAIN
from nightshift.preprocess.prepared import LABEL, WINDOW, Prepared
from nightshift.spec.models import Label


@dataclass(frozen=True)
class WindowRows:
    """Rows of one window.

    Attributes:
        rows: Labelled ones.
        unlabelled: The others.
        counts: Labelled ones by class: negatives and positives, or as ``label.classes`` lists them; else empty.
        constant: Whether numbers are the label, and they are all the same.
    """

    rows: int
    unlabelled: int
    counts: tuple[int, ...] = ()
    constant: bool = False

    @property
    def positives(self) -> int:
        return self.counts[1]


@dataclass(frozen=True)
class Accounts:
    """Every row of the source, once.

    Attributes:
        rows_in: Rows of the source in both windows.
        filtered: Rows that prepare left out.
        outside: Rows of prepare's output that lie in neither window.
        train, holdout: The rest.
    """

    rows_in: int
    filtered: int
    outside: int
    train: WindowRows
    holdout: WindowRows

    @property
    def unlabelled(self) -> int:
        return self.train.unlabelled + self.holdout.unlabelled


def count_rows(prepared: Prepared, label: Label, *, rows_in: int) -> Accounts:
    """Count the rows of each window and label; the first action on prepare's output.

    Args:
        prepared: Prepare's output.
        label: The spec's section.
        rows_in: Rows of ``source``.
    """
    windows = _numbers(prepared) if label.task == "regression" else _classes(prepared, max(2, len(label.classes)))
    everywhere = {name: window.rows + window.unlabelled for name, window in windows.items()}
    return Accounts(
        rows_in=rows_in,
        filtered=rows_in - sum(everywhere.values()),
        outside=everywhere.get(OUTSIDE, 0),
        train=windows.get(TRAIN, WindowRows(0, 0, (0,) * max(2, len(label.classes)))),
        holdout=windows.get(HOLDOUT, WindowRows(0, 0, (0,) * max(2, len(label.classes)))),
    )


def _classes(prepared: Prepared, classes: int) -> dict[str, WindowRows]:
    found: dict[str, dict[int | None, int]] = {}
    for row in prepared.frame.groupBy(WINDOW, LABEL).count().collect():
        found.setdefault(row[WINDOW], {})[row[LABEL]] = row["count"]
    return {
        name: WindowRows(
            sum(count for label, count in counts.items() if label is not None),
            counts.get(None, 0),
            tuple(counts.get(place, 0) for place in range(classes)),
        )
        for name, counts in found.items()
    }


def _numbers(prepared: Prepared) -> dict[str, WindowRows]:
    from pyspark.sql.functions import count, max, min

    told = prepared.frame.groupBy(WINDOW).agg(
        count("*").alias("all"), count(LABEL).alias("rows"), min(LABEL).alias("least"), max(LABEL).alias("most")
    )
    return {
        row[WINDOW]: WindowRows(row["rows"], row["all"] - row["rows"], constant=row["least"] == row["most"])
        for row in told.collect()
    }


def check_windows(plan: Plan, accounts: Accounts) -> None:
    """Refuse windows that nothing can be learned or judged from.

    Raises:
        DataError: A window has no labelled row, lacks a class, or has the same number as every label.
    """
    _check_window(plan, accounts, "train", accounts.train)
    _check_window(plan, accounts, "holdout", accounts.holdout)


def _check_window(plan: Plan, accounts: Accounts, name: Literal["train", "holdout"], rows: WindowRows) -> None:
    """Refuse a window that nothing can be learned or judged from."""
    more = "give the source more rows" if plan.spec.source.static else f"make window.{name} longer"
    label = plan.spec.label
    positive = f", {rows.positives} of them positive" if label.task == "binary" else ""
    told = (
        f"{rows.rows} labelled rows{positive}, {rows.unlabelled} unlabelled; "
        f"prepare was given {accounts.rows_in} rows of both windows and left out {accounts.filtered}"
    )
    if rows.rows == 0:
        reason = "no labelled row"
        hint = (
            f"see what {plan.spec.prepare} filters, whether the source covers the window, and whether label.delay "
            "is long enough for labels to arrive"
        )
    elif label.task == "binary" and rows.positives in (0, rows.rows):
        reason = f"only {'negatives' if rows.positives == 0 else 'positives'}"
        hint = f"see label.positive ({label.positive}), or {more}"
    elif absent := [each for each, count in zip(label.classes, rows.counts, strict=False) if not count]:
        reason = f"no row of {', '.join(absent)}"
        hint = f"see label.classes, or {more}"
    elif rows.constant:
        reason = f"the same {label.column} in every row"
        hint = f"see label.column ({label.column}), or {more}"
    else:
        return
    raise DataError(f"{plan.windows.named(name)} has {reason}: {told}.", hint=hint)
