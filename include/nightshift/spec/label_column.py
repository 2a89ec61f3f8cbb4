"""What a label column says, by task: one reading for Arrow and for Spark SQL, so that stages cannot disagree.

========== ============================ ===============================================
task       the column holds             what it becomes
========== ============================ ===============================================
binary     whatever ``positive`` needs  1 where positive, 0 where negative
multiclass text, whole numbers, boolean place of the value, as text, in ``label.classes``
regression numbers                      the number
========== ============================ ===============================================

A null and NaN stay null in each: unlabelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nightshift.errors import SpecError
from nightshift.spec.label_rule import LabelRule, kind_of

if TYPE_CHECKING:
    import pyarrow as pa

    from nightshift.spec.models import Label

UNKNOWN = -1
"""What stands for a value that is none of ``label.classes``; no such row is ever published."""
# Above it, not every whole number is a float64.
LARGEST_WHOLE = 2.0**53


class LabelColumn(Protocol):
    """A label column and how to read it."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the column may hold: number, boolean, text."""
        ...

    @property
    def says(self) -> str:
        """The spec's key that decides about it, for messages."""
        ...

    def arrow(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """The labels: int8, or float64 for regression; null where unlabelled, -1 where the value is no class.

        Raises:
            SpecError: The column holds something else than ``kinds``.
        """
        ...

    def sql(self, name: str, kind: str) -> str:
        """The same as a Spark SQL expression of type TINYINT or DOUBLE.

        Args:
            name: Name of the column, not yet quoted.
            kind: What it holds, one of ``kinds``.
        """
        ...


def label_column(label: Label) -> LabelColumn:
    """How to read the column that a spec names."""
    if label.task == "multiclass":
        return OneOfClasses(label.classes)
    if label.task == "regression":
        return Number()
    assert label.positive is not None
    return Positive(LabelRule.parse(label.positive), label.positive)


@dataclass(frozen=True)
class Positive:
    """Labels of the task ``binary``."""

    rule: LabelRule
    text: str

    @property
    def kinds(self) -> tuple[str, ...]:
        return (self.rule.kind,)

    @property
    def says(self) -> str:
        return f"label.positive ({self.text}) compares it with"

    def arrow(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa

        return self.rule.arrow_mask(column).cast(pa.int8())

    def sql(self, name: str, kind: str) -> str:
        return f"CAST({self.rule.sql(name)} AS TINYINT)"


@dataclass(frozen=True)
class OneOfClasses:
    """Labels of the task ``multiclass``."""

    classes: tuple[str, ...]
    kinds: tuple[str, ...] = ("text", "number", "boolean")
    says: str = "label.task (multiclass) compares label.classes with"

    def arrow(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = _texts(_held(column, self))
        places = pc.index_in(texts, pa.array(self.classes)).cast(pa.int8())
        return pc.if_else(pc.is_null(texts), None, pc.fill_null(places, UNKNOWN))

    def sql(self, name: str, kind: str) -> str:
        column = _quoted(name)
        text = f"CAST({column} AS STRING)"
        if kind == "number":
            number = _number(name)
            text = (
                f"CASE WHEN {number} IS NULL THEN NULL WHEN {number} <> floor({number}) "
                f"OR abs({number}) > {LARGEST_WHOLE!r}D THEN '' ELSE CAST(CAST({number} AS BIGINT) AS STRING) END"
            )
        classes = ", ".join("'" + each.replace("\\", "\\\\").replace("'", "\\'") + "'" for each in self.classes)
        return f"CAST(array_position(array({classes}), {text}) - 1 AS TINYINT)"


@dataclass(frozen=True)
class Number:
    """Labels of the task ``regression``."""

    kinds: tuple[str, ...] = ("number",)
    says: str = "label.task (regression) needs"

    def arrow(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa

        return _without_nan(_held(column, self).cast(pa.float64(), safe=False))

    def sql(self, name: str, kind: str) -> str:
        return _number(name)


def _held(column: pa.ChunkedArray, reader: LabelColumn) -> pa.ChunkedArray:
    """Raises SpecError: The column holds something else than it must."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found = kind_of(column.type)
    if column.null_count < len(column) and found not in reader.kinds:
        raise SpecError(
            f"the label column has type {column.type}, but {reader.says} a {' or a '.join(reader.kinds)}.",
            hint="see label.column and label.task",
        )
    return column


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as text, whole numbers without a point; empty where a number is not whole."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        return column.cast(pa.string())
    numbers = _without_nan(column.cast(pa.float64(), safe=False))
    whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less_equal(pc.abs(numbers), LARGEST_WHOLE))
    texts = pc.if_else(whole, numbers, 0.0).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, texts, "")


def _without_nan(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.if_else(pc.is_nan(numbers), None, numbers)


def _number(name: str) -> str:
    # Spark calls NaN larger than every number; here it is no label at all.
    return f"nullif(CAST({_quoted(name)} AS DOUBLE), DOUBLE('NaN'))"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
