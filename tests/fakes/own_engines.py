"""Engines of a user's own, written where Python finds them: the documentation's, and small ones that do something wrong."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs" / "engines.md"
FOREST = "my_package.engines:Forest"


def docs_code() -> str:
    """The class as docs/engines.md has it."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    return str(code)


def write_package(folder: Path, code: str, *, package: str = "my_package") -> str:
    """Write ``package/engines.py``; gives the module's name. The folder has to be where Python looks."""
    home = folder.joinpath(*package.split("."))
    home.mkdir(parents=True, exist_ok=True)
    (home / "__init__.py").touch()
    (home / "engines.py").write_text(textwrap.dedent(code))
    return f"{package}.engines"
