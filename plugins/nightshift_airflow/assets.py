"""What models announce to each other's DAGs."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

from nightshift.spec.models import ModelSpec

# For a scheme without "x-" Airflow imports every provider's URI handler, and boto3 with them, while it parses.
SCHEME = "x-nightshift"


def champion(spec: ModelSpec) -> Asset:
    """Changes when a model has a new champion."""
    return _asset(spec, "champion")


def candidate(spec: ModelSpec) -> Asset:
    """Changes when a version has passed its gates and waits for a person."""
    return _asset(spec, "candidate")


def candidates(spec: ModelSpec) -> AssetAlias:
    """What register announces candidates by: an alias, as an asset itself would change with every registration."""
    return AssetAlias(name=f"{spec.model}_candidates", group="nightshift")


def _asset(spec: ModelSpec, role: str) -> Asset:
    return Asset(name=f"{spec.model}_{role}", uri=f"{SCHEME}://{spec.model}/{role}", group="nightshift")
