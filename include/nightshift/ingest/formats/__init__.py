"""How a file's bytes become rows: csv and parquet, plain, gzipped or zipped."""

from nightshift.ingest.formats.rows import FileRows, RaggedRow, format_of, read_rows

__all__ = ["FileRows", "RaggedRow", "format_of", "read_rows"]
