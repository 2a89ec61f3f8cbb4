"""Which label values are the positive class: ``label.positive``, such as ``>= 15`` or ``== yes``.

One parsed rule gives the mask for Arrow and the expression for Spark SQL, so that validation and
preprocessing cannot disagree. A null label stays null in both: unlabelled, never a negative.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from nightshift.errors import SpecError

if TYPE_CHECKING:
    import pyarrow as pa

Operator = Literal[">=", "<=", "==", "!=", ">", "<"]

_RULE = re.compile(r"(>=|<=|==|!=|>|<)\s*(\S.*?)\s*")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class LabelRule:
    """A comparison of the label with one value.

    Attributes:
        operator: How to compare.
        value: A number for numeric labels, True or False for boolean ones, else text. Quotes make digits
            text: ``== "1"``.
    """

    operator: Operator
    value: int | float | bool | str

    _ARROW: ClassVar[dict[str, str]] = {
        ">=": "greater_equal",
        "<=": "less_equal",
        "==": "equal",
        "!=": "not_equal",
        ">": "greater",
        "<": "less",
    }

    @classmethod
    def parse(cls, text: str) -> LabelRule:
        """Read a rule.

        Raises:
            SpecError: It is not an operator and a value, or orders something that is not a number.
        """
        match = _RULE.fullmatch(text.strip())
        if match is None:
            raise SpecError(
                f"label.positive is {text!r}, which is not an operator and a value.",
                hint='write for example ">= 15", "== yes" or "== true"; operators: >= <= > < == !=',
            )
        rule = cls(cast(Operator, match[1]), _literal(match[2]))
        if rule.operator not in ("==", "!=") and (isinstance(rule.value, (bool, str))):
            raise SpecError(
                f"label.positive is {text!r}: {rule.operator} needs a number, and {match[2]} is none.",
                hint="use == or != for text and for true and false",
            )
        return rule

    @property
    def kind(self) -> str:
        """``number``, ``boolean`` or ``text``: what the label column must hold."""
        if isinstance(self.value, bool):
            return "boolean"
        return "text" if isinstance(self.value, str) else "number"

    def arrow_mask(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """True where positive, False where negative, null where unlabelled.

        Args:
            column: The label column, any length.

        Raises:
            SpecError: The column's type cannot be compared with the rule's value.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if column.null_count == len(column):
            return pa.chunked_array([pa.nulls(len(column), pa.bool_())])
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        found = kind_of(column.type)
        if found != self.kind:
            raise SpecError(
                f"label.positive compares with the {self.kind} {self.value!r}, but the label column has "
                f"type {column.type}.",
                hint=f"write for example {_EXAMPLES.get(found, '== yes')} for a label of that type",
            )
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        return pc.call_function(self._ARROW[self.operator], [column, pa.scalar(self.value)])

    def sql(self, column: str) -> str:
        """The same as a boolean Spark SQL expression; null where the column is null.

        Args:
            column: Name of the label column, not yet quoted.
        """
        name = "`" + column.replace("`", "``") + "`"
        operator = {"==": "=", "!=": "<>"}.get(self.operator, self.operator)
        if isinstance(self.value, bool):
            return f"({name} {operator} {str(self.value).upper()})"
        if isinstance(self.value, str):
            text = self.value.replace("\\", "\\\\").replace("'", "\\'")
            return f"({name} {operator} '{text}')"
        # Spark calls NaN larger than every number; here it is no label at all.
        return f"(nullif(CAST({name} AS DOUBLE), DOUBLE('NaN')) {operator} {self.value!r}D)"


_EXAMPLES = {"number": '">= 15"', "boolean": '"== true"', "text": '"== \\"1\\"" or "== yes"'}


def _literal(text: str) -> int | float | bool | str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _NUMBER.fullmatch(text):
        return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
    return text


def kind_of(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    return str(kind)
