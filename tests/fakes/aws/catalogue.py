"""What an account has besides clusters: releases to choose from, and security configurations."""

from __future__ import annotations

from typing import Any

from tests.fakes.aws.clock import Clock
from tests.fakes.aws.releases import OPERATING_SYSTEM, SPARK_OF, applications
from tests.fakes.aws.wire import AwsError

PAGE = 50
RUNTIME_ROLES = "EnableApplicationScopedIAMRole"
Json = dict[str, Any]


class Catalogue:
    """Operations on them, by the names that boto3 gives them.

    Args:
        clock: The time.

    Attributes:
        security: Security configurations by name.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.security: dict[str, str] = {}

    def describe_release_label(self, p: Json) -> Json:
        label = p.get("ReleaseLabel", "")
        if label not in SPARK_OF:
            raise AwsError("InvalidRequestException", f"Release label {label} is not valid.")
        found = [{"Name": name, "Version": version} for name, version in applications(label).items()]
        return {"ReleaseLabel": label, "Applications": found, "AvailableOSReleases": [{"Label": OPERATING_SYSTEM}]}

    def list_release_labels(self, p: Json) -> Json:
        wanted = p.get("Filters", {})
        prefix, spark = wanted.get("Prefix", ""), wanted.get("Application", "").lower()
        found = [
            label
            for label, version in sorted(SPARK_OF.items(), reverse=True)
            if label.startswith(prefix) and f"spark@{version}".startswith(spark)
        ]
        return {"ReleaseLabels": found}

    def create_security_configuration(self, p: Json) -> Json:
        if p["Name"] in self.security:
            words = f"SecurityConfiguration with name '{p['Name']}' already exists."
            raise AwsError("InvalidRequestException", words)
        self.security[p["Name"]] = p["SecurityConfiguration"]
        return {"Name": p["Name"], "CreationDateTime": self._clock.now()}

    def describe_security_configuration(self, p: Json) -> Json:
        name = self._existing(p["Name"])
        return {"Name": name, "SecurityConfiguration": self.security[name], "CreationDateTime": self._clock.now()}

    def delete_security_configuration(self, p: Json) -> Json:
        del self.security[self._existing(p["Name"])]
        return {}

    def list_security_configurations(self, p: Json) -> Json:
        return page("SecurityConfigurations", [{"Name": name} for name in sorted(self.security)], p)

    def allows_runtime_roles(self, name: str | None) -> bool:
        """Whether steps of clusters with this security configuration may have roles of their own."""
        return RUNTIME_ROLES in self.security.get(name or "", "")

    def _existing(self, name: str) -> str:
        if name not in self.security:
            raise AwsError("InvalidRequestException", f"Security configuration with name '{name}' does not exist.")
        return name


def page(name: str, found: list[Any], p: Json) -> Json:
    """One page of a list; the marker is where the next begins."""
    begin = int(p.get("Marker") or 0)
    shown: Json = {name: found[begin : begin + PAGE]}
    return shown | ({"Marker": str(begin + PAGE)} if begin + PAGE < len(found) else {})
