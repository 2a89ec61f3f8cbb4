"""Numbers that mean the same in Python, Spark SQL and ONNX."""

from __future__ import annotations

import math
import struct

NAN = "float('NaN')"
INFINITY = "float('Infinity')"


def float32(value: float) -> float:
    """The nearest float32, as a Python float; negative zero becomes zero.

    Raises:
        ValueError: The value is not finite.
        OverflowError: It has no finite float32.
    """
    rounded: float = struct.unpack("<f", struct.pack("<f", _finite(value)))[0]
    return rounded + 0.0


def float_sql(value: float) -> str:
    """A finite float32 as a Spark SQL literal of type float."""
    return f"{_finite(value)!r}F"


def double_sql(value: float) -> str:
    """A finite float64 as a Spark SQL literal of type double."""
    return f"{_finite(value)!r}D"


def text_sql(value: str) -> str:
    """A text as a Spark SQL literal.

    Quotes, backslashes and control characters would end or change the literal, and Spark substitutes
    variables after ``$`` even inside one, so these are written as Unicode escapes.
    """
    return "'" + "".join(_escaped(character) for character in value) + "'"


def _escaped(character: str) -> str:
    if character in "'\"\\$`" or not character.isprintable():
        code = ord(character)
        return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return character


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value
