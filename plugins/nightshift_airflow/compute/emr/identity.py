"""Whose cluster it is: names and tags by which it is found again, whoever lost its id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

PROJECT = "nightshift"
# What AWS takes in the value of a tag.
UNFIT = re.compile(r"[^\w +=.:/@-]", re.ASCII)
UNFIT_IN_NAMES = re.compile(r"[^\w +.:/@-]+", re.ASCII)
ESCAPED = re.compile(r"(=[0-9A-F]{2})+")
LONGEST = 256
# EMR's managed service policy only lets it touch what has this tag.
MANAGED_POLICIES = "for-use-with-amazon-emr-managed-policies"
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Identity:
    """The run that a cluster belongs to. The same run, tried again or cleared, has the same.

    Attributes:
        env: Environment prefix.
        model: The model.
        owner: Who answers for it.
        dag_id: The run's DAG.
        run_id: The run, by Airflow's id.
    """

    env: str
    model: str
    owner: str
    dag_id: str
    run_id: str

    @property
    def run_key(self) -> str:
        """Such as ``0f3a9c21d4e5``."""
        return hashlib.sha256("\n".join((self.env, self.dag_id, self.run_id)).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return f"{prefix_of(self.env)}{self.model}-{self.run_key}"

    def tags(self, *, deadline: datetime, cost_center: str | None) -> dict[str, str]:
        """Tags of the cluster, which its instances and volumes get too."""
        wanted = {
            "project": PROJECT,
            "env": self.env,
            "model": self.model,
            "run_key": self.run_key,
            "owner": self.owner,
            "cost_center": cost_center or "unassigned",
            "deadline": deadline.astimezone(UTC).strftime(MOMENT),
            "dag_id": to_tag(self.dag_id),
            "run_id": to_tag(self.run_id),
            MANAGED_POLICIES: "true",
        }
        return {name: UNFIT.sub("_", value)[:LONGEST] for name, value in wanted.items()}

    def owns(self, tags: Mapping[str, str]) -> bool:
        """Whether a cluster with these tags is this run's."""
        return is_ours(tags, self.env) and tags.get("run_key") == self.run_key


def prefix_of(env: str) -> str:
    """What the names of an environment's clusters begin with."""
    return f"{PROJECT}-{env}-"


def to_tag(name: str) -> str:
    """A name of Airflow's, such that it can be had back: what a tag does not take is ``=`` and the byte's number."""
    return UNFIT_IN_NAMES.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), name)


def from_tag(value: str) -> str:
    """The name that ``to_tag`` was given."""
    return ESCAPED.sub(lambda found: bytes.fromhex(found[0].replace("=", "")).decode(errors="replace"), value)


def is_ours(tags: Mapping[str, str], env: str) -> bool:
    """Whether a cluster with these tags belongs to this environment of Nightshift."""
    return tags.get("project") == PROJECT and tags.get("env") == env


def deadline_of(tags: Mapping[str, str]) -> datetime | None:
    """When a cluster must be gone, or None if its tag cannot be read."""
    try:
        return datetime.strptime(tags.get("deadline", ""), MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None
