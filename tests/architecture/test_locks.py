"""The locks are complete: hashed, and they hold what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {
    "requirements.txt": ("job", "java", "airflow", "stack", "dev"),
    "requirements-image.txt": ("job", "airflow", "stack"),
    "requirements-job.txt": ("job",),
    "requirements-mwaa.txt": ("mwaa",),
    "requirements-torch.txt": ("torch",),
}


def pins(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", line):
            found.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return found


@pytest.mark.parametrize("lock", EXTRAS)
def test_lock_satisfies_what_the_project_asks_for(lock: str) -> None:
    wanted = [
        *PROJECT["dependencies"],
        *(line for extra in EXTRAS[lock] for line in PROJECT["optional-dependencies"][extra]),
    ]
    locked = pins(lock)
    for line in wanted:
        requirement = Requirement(line)
        versions = locked.get(canonicalize_name(requirement.name))
        assert versions, f"{lock} has no {requirement.name}: run make lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{lock}: {line} vs {versions}"


@pytest.mark.parametrize("lock", [*EXTRAS, "requirements-build.txt", "requirements-uv.txt"])
def test_every_pin_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_derived_locks_agree_with_the_one_lock() -> None:
    everything, job, image = pins("requirements.txt"), pins("requirements-job.txt"), pins("requirements-image.txt")
    torch = pins("requirements-torch.txt")
    assert not {"torch"} & everything.keys()
    shared = {name: versions for name, versions in torch.items() if name in everything}
    for derived in (job, image, shared):
        assert {
            name: versions for name, versions in derived.items() if not versions <= everything.get(name, set())
        } == {}
    assert "apache-airflow-core" not in job
    assert not {"pytest", "mypy", "playwright", "moto"} & set(image)


def test_the_code_brings_the_names_and_versions_of_the_lock_of_jobs() -> None:
    from nightshift.jobs.pins import pinned, requirements, shipped

    assert shipped() == requirements((ROOT / "requirements-job.txt").read_text()), "run make lock"
    assert all(
        version in pins("requirements-job.txt")[name]
        for name, version in pinned(shipped(), python="3.11", platform="x86_64").items()
    )


def test_pyspark_is_not_mixed_with_its_client() -> None:
    assert "pyspark-client" not in pins("requirements.txt")


def test_what_is_built_from_source_is_built_by_what_the_lock_names() -> None:
    from nightshift.jobs.dependencies import BUILD_LOCK, FROM_SOURCE

    assert set(pins(BUILD_LOCK)) == {"setuptools"}
    assert set(FROM_SOURCE) <= set(pins("requirements-job.txt"))
