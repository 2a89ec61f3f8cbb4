"""Where every row went: rows in = train + holdout + unlabelled + outside the windows + filtered."""

from __future__ import annotations

from dataclasses import dataclass

from nightshift.errors import DataError
from nightshift.plan import Interval, Plan
from nightshift.preprocess.prepared import HOLDOUT, LABEL, OUTSIDE, TRAIN, WINDOW, Prepared


@dataclass(frozen=True)
class WindowRows:
    """Rows of one window: labelled ones, positives among them, unlabelled ones."""

    rows: int
    positives: int
    unlabelled: int


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


def count_rows(prepared: Prepared, *, rows_in: int) -> Accounts:
    """Count the rows of each window and label; the first action on prepare's output.

    Args:
        prepared: Prepare's output.
        rows_in: Rows of ``source``.
    """
    found = {(row[WINDOW], row[LABEL]): row["count"] for row in prepared.frame.groupBy(WINDOW, LABEL).count().collect()}

    def window(name: str) -> WindowRows:
        positives = found.get((name, 1), 0)
        return WindowRows(found.get((name, 0), 0) + positives, positives, found.get((name, None), 0))

    return Accounts(
        rows_in=rows_in,
        filtered=rows_in - sum(found.values()),
        outside=sum(count for (name, _), count in found.items() if name == OUTSIDE),
        train=window(TRAIN),
        holdout=window(HOLDOUT),
    )


def check_windows(plan: Plan, accounts: Accounts) -> None:
    """Refuse windows that nothing can be learned or judged from.

    Raises:
        DataError: A window has no labelled row, or only one class.
    """
    _check_window(plan, accounts, TRAIN, plan.windows.train, accounts.train)
    _check_window(plan, accounts, HOLDOUT, plan.windows.holdout, accounts.holdout)


def _check_window(plan: Plan, accounts: Accounts, name: str, window: Interval, rows: WindowRows) -> None:
    """Refuse a window that nothing can be learned or judged from."""
    days = len(list(window.days()))
    where = f"the {name} window {window} ({days} days)"
    told = (
        f"{rows.rows} labelled rows, {rows.positives} of them positive, {rows.unlabelled} unlabelled; "
        f"prepare was given {accounts.rows_in} rows of both windows and left out {accounts.filtered}"
    )
    if rows.rows == 0:
        reason = "no labelled row"
        hint = (
            f"see what {plan.spec.prepare} filters, whether the source covers the window, and whether label.delay "
            "is long enough for labels to arrive"
        )
    elif rows.positives in (0, rows.rows):
        reason = f"only {'negatives' if rows.positives == 0 else 'positives'}"
        hint = f"see label.positive ({plan.spec.label.positive}), or make window.{name} longer"
    else:
        return
    raise DataError(f"{where} has {reason}: {told}.", hint=hint)
