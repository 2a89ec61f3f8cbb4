from __future__ import annotations

import io

import pytest
from tests.unit.stack.conftest import Screen

from nightshift.stack.build import BuildLog
from nightshift.stack.progress import Board, Display, in_order
from nightshift.stack.services import Container, Layout, Service
from nightshift.stack.terminal import Terminal, columns, duration, size_of

LAYOUT = Layout(
    "nightshift",
    {
        "airflow": Service("airflow", needs=("prepare",), checked=True),
        "minio": Service("minio", checked=True),
        "postgres": Service("postgres", checked=True),
        "prepare": Service("prepare", needs=("postgres", "minio"), once=True),
    },
)


def seen(**states: str) -> dict[str, Container]:
    """Containers from words like ``running/healthy`` and ``exited/1``."""
    found = {}
    for name, told in states.items():
        state, _, more = told.partition("/")
        found[name] = Container(
            name, f"nightshift-{name}-1", state, health=more if more.isalpha() else "", exit_code=int(more or 0) if more.isdigit() else 0
        )  # fmt: skip
    return found


RECORDED = [
    (1.0, {}),
    (2.0, seen(postgres="running/starting", minio="running", prepare="created", airflow="created")),
    (9.0, seen(postgres="running/healthy", minio="running/healthy", prepare="running", airflow="created")),
    (30.4, seen(postgres="running/healthy", minio="running/healthy", prepare="exited/0", airflow="running/starting")),
    (71.0, seen(postgres="running/healthy", minio="running/healthy", prepare="exited/0", airflow="running/healthy")),
]


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_whoever_is_waited_for_comes_first() -> None:
    assert in_order(LAYOUT) == ["minio", "postgres", "prepare", "airflow"]


def test_services_that_wait_for_each_other_are_listed_all_the_same() -> None:
    circle = Layout("x", {"a": Service("a", needs=("b",)), "b": Service("b", needs=("a",))})
    assert sorted(in_order(circle)) == ["a", "b"]


def test_without_a_terminal_there_is_a_line_per_change(screen: Screen) -> None:
    board = Board(LAYOUT)
    display = Display(screen.terminal, board)
    for now, containers in RECORDED:
        display.update(board.observe(containers, now), now)
    assert screen.lines == [
        "     2 s  minio     starting",
        "     2 s  postgres  starting",
        "     9 s  minio     healthy",
        "     9 s  postgres  healthy",
        "     9 s  prepare   starting",
        "    30 s  prepare   done",
        "    30 s  airflow   starting",
        "    71 s  airflow   healthy",
    ]
    assert board.all_good
    assert not board.broken(71.0)


def test_silence_is_broken_by_what_is_waited_for(screen: Screen) -> None:
    board = Board(LAYOUT)
    display = Display(screen.terminal, board)
    for now in (2.0, 20.0, 40.0, 55.0):
        display.update(board.observe(RECORDED[1][1], now), now)
    assert screen.lines[2:] == ["    40 s  still waiting for minio (starting), postgres (starting)"]


def test_on_a_terminal_the_board_is_rewritten_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Tty()
    board = Board(LAYOUT)
    display = Display(Terminal(stream), board)
    for now, containers in RECORDED[:3]:
        display.update(board.observe(containers, now), now)
    last = stream.getvalue().rpartition("\x1b[5A")[2].replace("\x1b[2K", "").replace("\x1b[J", "").splitlines()
    assert last == [
        "Services  2 of 4 up  9 s",
        "  ✓ minio     healthy        9 s",
        "  ✓ postgres  healthy        9 s",
        "  … prepare   starting       9 s",
        "  · airflow                       waits for prepare",
    ]
    assert stream.getvalue().count("\x1b[5A") == 2
    assert "\x1b[3" not in stream.getvalue(), "no colour where none is wanted"


def test_a_terminal_with_too_few_lines_gets_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "5")
    stream = Tty()
    board = Board(LAYOUT)
    Display(Terminal(stream), board).update(board.observe(RECORDED[1][1], 2.0), 2.0)
    assert "\x1b[2K" not in stream.getvalue()


def test_no_line_is_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Tty()
    board = Board(LAYOUT)
    Display(Terminal(stream), board).update(board.observe(RECORDED[1][1], 2.0), 2.0)
    assert all(len(line.replace("\x1b[2K", "").replace("\x1b[J", "")) < 30 for line in stream.getvalue().splitlines())


class TestBroken:
    def test_a_one_shot_that_fails(self) -> None:
        board = Board(LAYOUT)
        board.observe(seen(prepare="exited/4"), 1.0)
        assert board.broken(1.0) == []
        assert board.broken(1.0, linger=0) == ["prepare"]
        assert board.broken(9.0) == ["prepare"]
        assert board.rows["prepare"].told == "exit code 4"

    def test_one_that_is_ill_for_a_moment_may_get_well(self) -> None:
        board = Board(LAYOUT)
        board.observe(seen(minio="running/unhealthy"), 1.0)
        board.observe(seen(minio="running/healthy"), 4.0)
        assert board.broken(60.0) == []

    def test_one_that_dies_again_and_again(self) -> None:
        board = Board(LAYOUT)
        for now in range(6):
            board.observe(seen(minio="restarting/1" if now % 2 else "running/starting"), float(now))
        assert board.crashing(6.0) == ["minio"]

    def test_one_that_dies_at_once_and_is_never_seen_running(self) -> None:
        board = Board(LAYOUT)
        for now in range(20):
            board.observe(seen(minio="restarting/1"), float(now))
        assert board.crashing(10.0) == []
        assert board.crashing(20.0) == ["minio"]

    def test_those_that_only_wait_are_not_to_blame(self) -> None:
        board = Board(LAYOUT)
        board.observe(RECORDED[1][1], 2.0)
        assert board.pending() == ["minio", "postgres"]
        assert Board(LAYOUT).pending() == ["minio", "postgres", "prepare", "airflow"]


class TestBuildLog:
    def test_buildkit(self) -> None:
        log = BuildLog()
        said = [
            log.read(line, 0.0)
            for line in (
                "#1 [prepare internal] load build definition from Dockerfile",
                "#1 DONE 4.0s",
                "#5 [prepare packages 3/4] RUN uv pip install",
                "#6 [prepare system 2/2] RUN apt-get",
                "#6 CACHED",
                "#5 2.820 Installed 250 packages",
                "#5 DONE 61.9s",
                "#7 [prepare] exporting to image",
                "#7 DONE 0.1s",
            )
        ]
        assert [line for line in said if line] == ["[prepare packages 3/4] RUN uv pip install  62 s"]
        assert log.current is not None
        assert log.current.told == "[prepare] exporting to image"

    def test_the_builder_before_it(self) -> None:
        log = BuildLog()
        lines = [(0.0, "Step 1/3 : FROM python"), (0.1, "Step 2/3 : RUN pip"), (9.1, "Step 3/3 : USER 1")]
        assert [log.read(line, now) for now, line in lines] == [None, None, "Step 2/3 : RUN pip  9 s"]


class TestText:
    def test_columns_are_aligned(self) -> None:
        assert columns([("a", "1"), ("long", "22")], right=(1,)) == ["a       1", "long   22"]

    @pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (185, "3 min 05 s")])
    def test_durations(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text

    def test_bytes(self) -> None:
        assert (size_of(2**30 * 7.9), size_of(2**20 * 384)) == ("7.9 GiB", "384 MiB")

    def test_an_ascii_terminal_gets_ascii(self) -> None:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")
        Terminal(stream).say("✓ done – ‽")
        assert raw.getvalue() == b"+ done - ?\n"
