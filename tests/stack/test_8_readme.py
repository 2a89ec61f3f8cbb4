"""The README's commands that need a Docker engine, as they stand there; the others are in test_fresh_clone.py."""

from __future__ import annotations

from tests.fakes.readme import blocks
from tests.stack.stack import Stack


def test_every_stack_block_of_the_readme_works(stack: Stack) -> None:
    found = blocks(stack.root / "README.md")["stack"]
    assert found
    for block in found:
        done = stack.run(["bash", "-euo", "pipefail", "-c", block], timeout=1800)
        assert done.returncode == 0, f"{block}\n{done.stdout}"
