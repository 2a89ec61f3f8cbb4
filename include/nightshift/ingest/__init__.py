"""Ingest: rows in = rows out + rows quarantined with reasons, exactly; each day is read once."""

from nightshift.ingest.night import run

__all__ = ["run"]
