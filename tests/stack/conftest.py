"""One stack for the whole session, from a fresh clone; every container and volume of it is gone afterwards.

While you write a test: ``NIGHTSHIFT_TEST_STACK=/tmp/stack`` keeps it there, running, for the next session.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stack.stack import Stack, engine_answers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/tests/stack/" in item.path.as_posix():
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.timeout(2400))


@pytest.fixture(scope="session")
def down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The clone, with nothing started."""
    assert engine_answers(), "these tests need a Docker engine that answers `docker info`"
    if kept := os.environ.get("NIGHTSHIFT_TEST_STACK"):
        yield Stack(Path(kept))
        return
    stack = Stack(tmp_path_factory.mktemp("stack") / "nightshift")
    try:
        yield stack
    finally:
        stack.run(["docker", "compose", "--profile", "*", "down", "--volumes", "--timeout", "5"], timeout=300)
        shutil.rmtree(stack.root, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(down: Stack) -> Stack:
    """The stack, started as the README says."""
    down.first_up = down.make("up")
    return down
