"""Time, as the double sees it: it passes by itself, or only when a test says so, and can be moved forward."""

from __future__ import annotations

import threading
import time


class Clock:
    """Seconds since 1970.

    Args:
        frozen: Stand still, but for ``advance``.
    """

    def __init__(self, *, frozen: bool = False) -> None:
        self._lock = threading.Lock()
        self._ahead = 0.0
        self._stopped_at = time.time() if frozen else None

    def now(self) -> float:
        with self._lock:
            real = time.time() if self._stopped_at is None else self._stopped_at
            return round(real + self._ahead, 3)  # AWS says milliseconds

    def advance(self, seconds: float) -> None:
        """Raises ValueError: Time does not run backwards."""
        if seconds < 0:
            raise ValueError(f"the clock only goes forward, not by {seconds} s")
        with self._lock:
            self._ahead += seconds
