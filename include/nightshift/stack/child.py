"""A docker command that runs beside us, while we show how far things are."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

KEPT = 400
STOPPED_WITHIN = 10  # seconds; then it is killed


class Child:
    """A process whose lines can be waited for with a limit.

    Args:
        process: It; its standard output is read here and nowhere else.

    Attributes:
        tail: The last lines it wrote.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.tail: deque[str] = deque(maxlen=KEPT)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._drained = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOPPED_WITHIN)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(STOPPED_WITHIN)
        if not self._reader.is_alive() and self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def ended(self) -> bool:
        """Whether it has ended and all it wrote has been given."""
        return self._drained

    @property
    def code(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait()

    def lines(self, seconds: float) -> Iterator[str]:
        """What it has written since; waits so long for the first line, and ends early when the process ends."""
        try:
            line = self._lines.get(timeout=seconds)
            while line is not None:
                yield line
                line = self._lines.get_nowait()
            self._drained = True
        except queue.Empty:
            return

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.tail.append(line.rstrip())
            self._lines.put(line.rstrip())
        self._lines.put(None)
