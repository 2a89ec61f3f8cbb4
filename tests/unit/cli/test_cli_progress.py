from __future__ import annotations

import io

import pytest
from rich.console import Console

from nightshift.cli.progress import Board, Ended, JobLine
from nightshift.plan import STAGES
from nightshift.stage import StageResult
from nightshift.storage import Ref

AIRFLOW = "2026-11-20T09:54:44.509922Z [info     ] {} [nightshift_airflow.compute.local] loc=local.py:57"
ENDS = "succeeded (train/2013-06-27@1) in 4.2 s"


@pytest.mark.parametrize(
    "line",
    [
        f"09:54:44 INFO train: {ENDS}",
        AIRFLOW.format(f"train: {ENDS}"),
        "\x1b[2m2026-11-20T09:54:44.509922Z\x1b[0m [\x1b[32minfo     \x1b[0m] train: "
        + ENDS
        + " [nightshift_airflow.x]",
        f"2026-11-20T09:54:44.509922Z [info     ] train: {ENDS}",
    ],
)
def test_a_jobs_line_wherever_it_is(line: str) -> None:
    assert JobLine.parse(line) == JobLine("INFO", "train", ENDS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "train: succeeded",
        "2026-11-20T09:54:38.933644Z [info     ] Filling up the DagBag from /x [airflow.dag_processing.dagbag] loc=dagbag.py:460",
        "09:54:44 INFO trainer: hello",
    ],
)
def test_other_lines_are_not_a_jobs(line: str) -> None:
    assert JobLine.parse(line) is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ENDS, Ended("succeeded", False, 4.2, ("train", "2013-06-27", 1))),
        (
            "succeeded, as published before: train/2013-06-27@2 in 0.3 s",
            Ended("succeeded", True, 0.3, ("train", "2013-06-27", 2)),
        ),
        (
            "refused: worse than champion v1 (evaluate/2013-06-27@1) in 2.0 s",
            Ended("refused", False, 2.0, ("evaluate", "2013-06-27", 1)),
        ),
        ("skipped: backfills never promote in 0.1 s", Ended("skipped", False, 0.1, None)),
        ("200 trees in 3.4 s, threshold 0.3", None),
        ("night 2013-06-28 of flight_delays", None),
    ],
)
def test_the_last_line_of_a_job(message: str, expected: Ended | None) -> None:
    assert Ended.parse(message) == expected


def result(
    stage: str, *, reused: bool = False, status: str = "succeeded", reason: str | None = None, **summary: object
) -> StageResult:
    return StageResult(stage, status, Ref(stage, "2013-06-27", 1, "d"), reused, summary, reason)  # type: ignore[arg-type]


class TestBoard:
    def text(self, *, terminal: bool) -> tuple[io.StringIO, Board]:
        written = io.StringIO()
        console = Console(file=written, force_terminal=terminal, width=100, highlight=False)
        return written, Board(console, STAGES, "Night 2013-06-28")

    def test_without_a_terminal_there_is_a_line_for_each_stage_as_it_ends(self) -> None:
        written, board = self.text(terminal=False)
        with board:
            board.start("ingest")
            board.say("ingest", "reading")
            board.finish(result("ingest", rows_in=1234, quarantined=3, days_added=2), 2.04)
            board.start("validate")
            board.finish(result("validate", reused=True, rows_in=1231, quarantined=0, unlabelled=5), 0.31)
            board.start("evaluate")
            board.finish(result("evaluate", status="refused", reason="worse"), 1.0)
            board.start("train")
            board.fail("train", "no rows")
        assert written.getvalue().splitlines() == [
            "Night 2013-06-28",
            "  ✓ ingest        2.0 s  1,234 rows in, 3 quarantined, 2 days added",
            "  ✓ validate      0.3 s  reused: 1,231 rows in, 0 quarantined, 5 unlabelled",
            "  ■ evaluate      1.0 s  worse",
            "  ✗ train         0.0 s  no rows",
        ]
        assert board.states()["validate"] == "reused"
        assert board.states()["deploy"] == "waiting"

    def test_on_a_terminal_the_whole_night_is_one_picture(self) -> None:
        written, board = self.text(terminal=True)
        with board:
            board.start("ingest")
            board.finish(result("ingest", rows_in=1234), 2.0)
        final = written.getvalue()
        assert "Night 2013-06-28" in final
        assert "deploy" in final

    def test_an_interrupted_stage_is_shown_as_failed(self) -> None:
        _, board = self.text(terminal=False)

        def interrupted() -> None:
            with board:
                board.start("train")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert board.states()["train"] == "failed"

    def test_text_of_a_job_is_never_taken_for_markup(self) -> None:
        written, board = self.text(terminal=False)
        with board:
            board.start("train")
            board.fail("train", "[red]odd[/red] [link=x]y[/link]")
        assert "[red]odd[/red] [link=x]y[/link]" in written.getvalue()
