"""Run reports: one self-contained HTML page per run, and the history of nights behind it."""

from nightshift.report.render import render_run, report_path

__all__ = ["render_run", "report_path"]
