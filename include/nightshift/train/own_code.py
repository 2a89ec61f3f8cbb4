"""The code of a user's own engine, as far as a result depends on it: its sources and the libraries it imports.

Nothing is declared: what the sources import is read from them, also what they import inside functions.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from nightshift.plan import library_versions

OUR_OWN = "nightshift"  # counts anyway


def code_of(module: str) -> dict[str, str | None]:
    """What the result of an engine depends on: digests of sources, by module or package; versions, by distribution.

    The sources are those of the module's outermost package with all its files, or of the module where it is in none,
    and of whatever these import that is no installed distribution.

    Args:
        module: A module that has been imported.
    """
    distributions = _distributions()
    found: dict[str, str | None] = {}
    seen, waiting = {OUR_OWN}, [module]
    while waiting:
        name = waiting.pop()
        first = name.partition(".")[0]
        installed = distributions.get(first, ()) if found else ()  # the engine's own: always by its sources
        root = first if installed else outermost(name)
        if root in seen:
            continue
        seen.add(root)
        sources = {} if installed else dict(_sources(root))
        if installed:
            found |= library_versions(tuple(sorted(set(installed))))
        elif sources:
            found[f"{root}/"] = _digest(sources)
            waiting += sorted({name for path, source in sources.items() for name in _imports(path, source)})
    return found


def outermost(module: str) -> str:
    """The outermost package of a module, or itself. Namespaces are passed by: others have packages in them too."""
    parts = module.split(".")
    names = [".".join(parts[:place]) for place in range(1, len(parts) + 1)]
    return next((name for name in names if _found(name)), module)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """The installed distributions by the names that can be imported; takes half a second."""
    return packages_distributions()


def location(module: str) -> str | None:
    """Where the files of a module's outermost package lie: their common prefix; None where there is none."""
    home = _found(outermost(module))
    if home is None:
        return None
    origin = str(home.origin)
    return origin if home.submodule_search_locations is None else str(Path(origin).parent)


def _found(name: str) -> ModuleSpec | None:
    """Where a package or module was loaded from, or would be; None where it has no file, as a namespace has none."""
    loaded = sys.modules.get(name)
    try:
        home = find_spec(name) if loaded is None else loaded.__spec__
    except (ImportError, ValueError):
        return None
    return home if home is not None and home.has_location else None


def _sources(root: str) -> Iterator[tuple[str, bytes]]:
    """The files of a package or module by name, on disk and inside a zip the same; none where it is not here."""
    home = _found(root)
    if home is None:
        return
    if home.submodule_search_locations is not None:
        yield from _files(files(root), root)
    elif (read := getattr(home.loader, "get_data", None)) is not None:
        yield f"{root}.py", read(str(home.origin))


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for child in sorted(folder.iterdir(), key=lambda child: child.name):
        if child.is_dir():
            if child.name != "__pycache__":
                yield from _files(child, f"{path}/{child.name}")
        elif not child.name.endswith(".pyc"):
            yield f"{path}/{child.name}", child.read_bytes()


def _digest(sources: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, data in sources.items():
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _imports(path: str, source: bytes) -> Iterator[str]:
    """What a file imports, but for the standard library: modules, or names in them."""
    if not path.endswith(".py"):
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a file that nobody imports
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.partition(".")[0] not in sys.stdlib_module_names)
