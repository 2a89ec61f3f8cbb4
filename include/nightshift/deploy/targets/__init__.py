"""Where a model serves: one file per kind of deployment target."""

from __future__ import annotations

from nightshift.deploy.target import DeploymentTarget
from nightshift.deploy.targets.local import LocalTarget


def target_of(name: str) -> DeploymentTarget:
    """The deployment target that a spec names."""
    return {"local": LocalTarget}[name]()
