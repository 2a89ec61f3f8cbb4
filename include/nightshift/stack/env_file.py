"""``.env``: the stack's secrets, written once, whole or not at all, for nobody else's eyes."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightshift.stack.variables import OPTIONS, SECRETS, Secret

NAME = ".env"
PRIVATE = 0o600
ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=(?P<value>.*)$")
HEAD = """\
# Secrets of the docker-compose stack, written once by `make env`. Git ignores this file; only you can read it.
# New secrets: `make down VOLUMES=1` (it deletes the stack's data), remove this file, `make up`.
"""


@dataclass(frozen=True)
class Written:
    """What ``ensure`` did.

    Attributes:
        path: The file.
        fresh: It was not there before.
        added: Secrets that an older file lacked.
        tightened: Others could read it until now.
    """

    path: Path
    fresh: bool = False
    added: tuple[str, ...] = ()
    tightened: bool = False

    def __str__(self) -> str:
        if self.fresh:
            return f"Wrote {self.path} with {len(self.added)} random secrets; only you can read it."
        told = [f"{self.path} is there; its secrets stay as they are."]
        if self.added:
            told.append(f"Added what it lacked: {', '.join(self.added)}.")
        if self.tightened:
            told.append("Others could read it: it is yours alone now.")
        return " ".join(told)


def read(path: Path) -> dict[str, str]:
    """The variables of a file; empty if there is none."""
    if not path.is_file():
        return {}
    found = (ASSIGNMENT.match(line) for line in path.read_text().splitlines())
    return {match["name"]: _value(match["value"]) for match in found if match}


def values(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What docker-compose.yaml will see: ``environ``, before ``.env``, before its defaults."""
    known = {option.name: option.default for option in OPTIONS}
    names = {*known, *(secret.name for secret in SECRETS)}
    # An empty variable counts as none, as ${NAME:-default} has it.
    given = {name: value for name, value in read(root / NAME).items() if value}
    return {**known, **given, **{name: environ[name] for name in names if environ.get(name)}}


def lacking(path: Path) -> list[Secret]:
    """The secrets that a file does not have, or has empty."""
    there = read(path)
    return [secret for secret in SECRETS if not there.get(secret.name)]


def overridden(path: Path, environ: Mapping[str, str]) -> list[str]:
    """Secrets that a variable of this shell replaces by another value, as docker-compose does."""
    there = read(path)
    return [s.name for s in SECRETS if environ.get(s.name) and there.get(s.name) and environ[s.name] != there[s.name]]


def ensure(root: Path) -> Written:
    """Write the file if there is none, else add the secrets it lacks. What is in it never changes."""
    path = (root / NAME).resolve()
    try:
        _create(path, _text())
    except FileExistsError:
        return _complete(path)
    return Written(path, fresh=True, added=tuple(secret.name for secret in SECRETS))


def is_private(path: Path) -> bool:
    """Whether nobody but its owner can read or write the file."""
    return stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def _complete(path: Path) -> Written:
    tightened = not is_private(path)
    if tightened:
        path.chmod(PRIVATE)
    missing = lacking(path)
    if missing:
        # A line NAME= of ours would win over nothing, but read as if the secret were empty.
        emptied = "|".join(secret.name for secret in missing)
        kept = re.sub(rf"^\s*(?:export\s+)?(?:{emptied})\s*=.*\n?", "", path.read_text(), flags=re.MULTILINE)
        text = kept.rstrip("\n") + "\n\n# Added later\n" + "".join(map(_line, missing))
        fresh = _write_aside(path, text)
        fresh.replace(path)
    return Written(path, added=tuple(secret.name for secret in missing), tightened=tightened)


def _create(path: Path, text: str) -> None:
    """Raises FileExistsError: There is a file already; it stays as it is, even if it came a moment ago."""
    if path.exists():
        raise FileExistsError(path)
    fresh = _write_aside(path, text)
    try:
        # A link is made whole and only where there is nothing; a rename would replace what came in between.
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:
        fresh.rename(path)  # a file system without links
        return
    finally:
        fresh.unlink(missing_ok=True)


def _write_aside(path: Path, text: str) -> Path:
    """A finished, private file beside ``path``."""
    # mkstemp makes it readable and writable by this user only.
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        Path(name).unlink()
        raise
    return Path(name)


def _text() -> str:
    wide = max(len(f"# {option.name}={option.default}") for option in OPTIONS if len(option.default) < 30)
    options = "".join(f"{f'# {option.name}={option.default}':<{wide}}  # {option.meaning}\n" for option in OPTIONS)
    return f"{HEAD}\n{''.join(map(_line, SECRETS))}\n# What may be changed; these are the defaults.\n{options}"


def _line(secret: Secret) -> str:
    return f"# {secret.meaning}\n{secret.name}={secret.make()}\n"


def _value(text: str) -> str:
    """A value as docker-compose reads it: without its quotes, or without the comment behind it."""
    text = text.strip()
    quoted = re.match(r"""(["'])(.*?)\1""", text)
    return quoted[2] if quoted else re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
