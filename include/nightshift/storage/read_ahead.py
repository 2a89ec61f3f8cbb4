"""Objects read a few at a time and handed on in order: a distant store is not waited for file by file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from nightshift.storage.objects import Stored

T = TypeVar("T")

AT_ONCE = 4
# Of stored bytes: what they unpack to is several times as much, and is held until it has been handed on.
MOST_BYTES = 64 * 2**20


def read_ahead(files: Iterable[Stored], work: Callable[[Stored], T]) -> Iterator[T]:
    """Apply ``work`` to each file in threads; gives the results in the order of the files.

    At most ``AT_ONCE`` files, and ``MOST_BYTES`` of them (but always one), are read and not yet handed on.
    An error of ``work`` is raised in its file's turn.
    """
    under_way: deque[tuple[int, Future[T]]] = deque()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="read-ahead") as pool:
        try:
            for file in files:
                while under_way and not _has_room(file, under_way):
                    yield under_way.popleft()[1].result()
                under_way.append((file.size, pool.submit(work, file)))
            while under_way:
                yield under_way.popleft()[1].result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _has_room(file: Stored, under_way: Iterable[tuple[int, object]]) -> bool:
    sizes = [size for size, _ in under_way]
    return len(sizes) < AT_ONCE and sum(sizes) + file.size <= MOST_BYTES
