"""Which packages a lock brings to a cluster's machines, and whether an archive has those of this code's lock."""

from __future__ import annotations

import pytest

from nightshift.jobs.pins import differences, pinned, requirements, shipped

LOCK = """\
--find-links wheels
Our_Engine==1.0 \\
    --hash=sha256:00
    # via torch==9
numpy==2.3.5 ; python_full_version < '3.12' and sys_platform == 'darwin' \\
    --hash=sha256:11
numpy==2.4.6 ; python_full_version < '3.12' and sys_platform != 'darwin' \\
    --hash=sha256:22
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:33
pyspark==4.1.4 \\
    --hash=sha256:44
pywin32==312 ; sys_platform == 'win32' \\
    --hash=sha256:55
fast==3 ; platform_machine == 'aarch64' \\
    --hash=sha256:66
"""


@pytest.mark.parametrize(
    ("python", "platform", "packages"),
    [
        ("3.11", "x86_64", {"numpy": "2.4.6", "our-engine": "1.0"}),
        ("3.12", "x86_64", {"numpy": "2.5.5", "our-engine": "1.0"}),
        ("3.11", "aarch64", {"fast": "3", "numpy": "2.4.6", "our-engine": "1.0"}),
    ],
)
def test_a_lock_is_for_many_machines_and_an_archive_for_one(
    python: str, platform: str, packages: dict[str, str]
) -> None:
    """What the cluster has itself is in no archive."""
    assert pinned(requirements(LOCK), python=python, platform=platform) == packages


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("platform", ["x86_64", "aarch64"])
def test_an_archive_of_this_codes_lock_fits_and_so_does_one_of_more(python: str, platform: str) -> None:
    there = pinned(shipped(), python=python, platform=platform)
    assert {"numpy", "mlflow", "xgboost-cpu"} <= there.keys()
    assert differences(there, python=python, platform=platform) is None
    assert differences({**there, "torch": "2.9.0"}, python=python, platform=platform) is None


def test_what_is_missing_or_other_is_named_and_not_all_of_it() -> None:
    there = pinned(shipped(), python="3.11", platform="x86_64")
    locked = there["numpy"]
    said = differences({**there, "numpy": "1.0"}, python="3.11", platform="x86_64")
    assert said == f"numpy 1.0 (locked: {locked})"
    everything = differences({}, python="3.11", platform="x86_64")
    assert everything is not None
    assert everything.count("is missing") == 5
    assert everything.endswith(f", {len(there) - 5} more")
