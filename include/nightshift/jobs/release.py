"""A release: everything that a cluster needs to run jobs, as files in a folder, and uploaded to a store.

Every file is named by its content and never changes. What describes the dependency archive is uploaded last: where
that is, all of it is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from nightshift.errors import IntegrityError, SettingsError
from nightshift.jobs.archive import build
from nightshift.jobs.dependencies import build_dependencies, lock_digest
from nightshift.jobs.pins import pinned, requirements
from nightshift.jobs.submitted import emr_entry
from nightshift.storage.objects import Objects

UPLOAD_SECONDS = 3600.0  # for one archive, on a slow line


@dataclass(frozen=True)
class Release:
    """Files that belong together.

    Attributes:
        code: The code archive, for ``--py-files``.
        entry: The program that ``spark-submit`` runs.
        dependencies: The dependency archive.
        bootstrap: The script that puts it on a machine.
        description: What is to be known of the dependency archive before a machine is started.
    """

    code: Path
    entry: Path
    dependencies: Path
    bootstrap: Path
    description: Path

    def in_order(self) -> list[Path]:
        """The files in the order in which they must appear."""
        return [self.code, self.entry, self.dependencies, self.bootstrap, self.description]


def build_release(lock: Path, folder: Path, *, python: str, platform: str) -> Release:
    """Build both archives, and put beside them what a cluster needs to use them.

    Args:
        lock: The packages of jobs, with hashes.
        folder: Where to put the files.
        python: The Python of the cluster's machines, such as ``3.11``.
        platform: Their processor.

    Raises:
        SettingsError: The packages cannot be installed, or the folder cannot be written.
    """
    dependencies = build_dependencies(lock, folder, python=python, platform=platform)
    script = files("nightshift").joinpath("jobs/bootstrap.sh").read_bytes()
    bootstrap = folder / f"bootstrap-{hashlib.sha256(script).hexdigest()[:16]}.sh"
    description = dependencies.with_name(f"{dependencies.name}.json")
    name, program = emr_entry()
    entry = folder / name
    described = {
        "bootstrap": bootstrap.name,
        "lock": lock_digest(lock),
        "packages": pinned(requirements(lock.read_text()), python=python, platform=platform),
        "platform": platform,
        "python": python,
        **facts(dependencies),
    }
    try:
        bootstrap.write_bytes(script)
        entry.write_bytes(program)
        description.write_text(json.dumps(described, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise SettingsError(
            f"the release cannot be written into {folder}: {error.strerror or error}", hint="name another folder: --out"
        ) from error
    return Release(build(folder, python), entry, dependencies, bootstrap, description)


def upload_release(release: Release, prefix: str) -> list[str]:
    """Upload what is missing. Safe to repeat.

    Args:
        release: What was built.
        prefix: Folder in a store, such as ``s3://bucket/prefix``.

    Returns:
        The names of the objects that were not there before.

    Raises:
        StorageError: The store failed.
        IntegrityError: It has something else under one of the names.
    """
    objects = Objects(prefix, patience=UPLOAD_SECONDS)
    present = set(objects.names("")[1])
    new = []
    for path in release.in_order():
        if path == release.description:
            # The same packages, described by another version of Nightshift: its bootstrap script may be another.
            if objects.read_or_none(path.name) != path.read_bytes():
                objects.write(path.name, path.read_bytes())
                new.append(path.name)
        elif path.name not in present:
            if not objects.create(path.name, path.read_bytes()):
                raise IntegrityError(
                    f"{objects.uri(path.name)} appeared meanwhile, with other bytes than its name says.",
                    hint="delete that object, find out who wrote it, and package again",
                )
            new.append(path.name)
    return new


def facts(path: Path) -> dict[str, Any]:
    """sha256 and size of a file."""
    with path.open("rb") as content:
        return {"sha256": hashlib.file_digest(content, "sha256").hexdigest(), "size": path.stat().st_size}
