"""Validate: every raw day is judged once; rows that fail are quarantined, days that fail block the night."""

from nightshift.validate.night import run

__all__ = ["run"]
