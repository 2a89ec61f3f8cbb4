"""What EMR refuses of a request before it does anything."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape
from tests.fakes.aws.releases import SPARK_OF, applications
from tests.fakes.aws.wire import AwsError

ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}")
ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:(role|instance-profile)/([\w+=,.@/-]+)")
IDLE_TIMEOUT = range(60, 604_800 + 1)
SPOT_MINUTES = range(5, 1_440 + 1)
TYPES, TYPES_BY_STRATEGY = 5, 30  # of instances in a fleet, without and with an allocation strategy


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


@cache
def service_model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("emr", "service-2"), "emr")


def check_shape(operation: OperationModel, parameters: dict[str, Any]) -> None:
    """Names, required members and enumerations, as the service's own model says.

    Raises:
        AwsError: ValidationException.
    """
    problems = list(_problems(operation.input_shape, parameters, ""))
    if problems:
        found = "1 validation error" if len(problems) == 1 else f"{len(problems)} validation errors"
        raise invalid(f"{found} detected: {'; '.join(problems)}")


def _problems(shape: Shape | None, value: Any, path: str) -> list[str]:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        missing = [name for name in shape.required_members if value.get(name) is None]
        found = [_problem(None, _join(path, name), "Member must not be null") for name in missing]
        for name, child in value.items():
            if name not in shape.members:
                raise AwsError("SerializationException", f"{shape.name} has no member {name}")
            found += _problems(shape.members[name], child, _join(path, name))
        return found
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [
            line for at, child in enumerate(value, 1) for line in _problems(shape.member, child, f"{path}.{at}.member")
        ]
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        return [_problem(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")]
    return []


def _join(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _problem(value: Any, path: str, rule: str) -> str:
    said = "null" if value is None else f"'{value}'"
    return f"Value {said} at '{path}' failed to satisfy constraint: {rule}"


def check_cluster(request: dict[str, Any], security_configurations: dict[str, str]) -> None:
    """Raises AwsError: Something of ``RunJobFlow`` is not as EMR takes it."""
    _check_release(request)
    _check_roles(request)
    _check_instances(request.get("Instances", {}))
    check_idle_timeout(request.get("AutoTerminationPolicy"))
    check_scaling(request.get("ManagedScalingPolicy"), request)
    name = request.get("SecurityConfiguration")
    if name is not None and name not in security_configurations:
        raise AwsError("InvalidRequestException", f"Security configuration with name '{name}' does not exist.")
    if not 1 <= request.get("StepConcurrencyLevel", 1) <= 256:
        raise invalid("StepConcurrencyLevel must be between 1 and 256.")


def _check_release(request: dict[str, Any]) -> None:
    label = request.get("ReleaseLabel")
    if label is None:
        raise invalid("Must specify exactly one of the following: release label, AMI version, or Hadoop version.")
    if label not in SPARK_OF:
        raise invalid(f"The supplied release label is invalid: {label}.")
    for wanted in request.get("Applications", []):
        if wanted.get("Name", "").lower() not in {name.lower() for name in applications(label)}:
            raise invalid(f"The requested application {wanted.get('Name')} is not supported by release {label}.")


def _check_roles(request: dict[str, Any]) -> None:
    service, profile = request.get("ServiceRole"), request.get("JobFlowRole")
    if service is None:
        raise invalid("ServiceRole is required for creating cluster.")
    if not is_role(service):
        raise invalid(f"Invalid ServiceRole: {service}.")
    if profile is None:
        raise invalid("InstanceProfile is required for creating cluster.")
    if not is_role(profile):
        raise invalid(f"Invalid InstanceProfile: {profile}.")


def is_role(text: str) -> bool:
    """Whether it is the name or the ARN of a role or instance profile."""
    return bool(ROLE_NAME.fullmatch(text) or ROLE_ARN.fullmatch(text))


def _check_instances(instances: dict[str, Any]) -> None:
    fleets = instances.get("InstanceFleets", [])
    if fleets and (instances.get("InstanceGroups") or instances.get("MasterInstanceType")):
        raise invalid("Instance fleets and instance groups are mutually exclusive. Specify only one of them.")
    if fleets and instances.get("Ec2SubnetId"):
        raise invalid("Ec2SubnetId is not allowed with instance fleets. Use Ec2SubnetIds instead.")
    if not fleets:
        if not instances.get("InstanceGroups") and not instances.get("MasterInstanceType"):
            raise invalid("At least one instance group, instance fleet or instance type must be specified.")
        return
    kinds = [fleet["InstanceFleetType"] for fleet in fleets]
    if kinds.count("MASTER") != 1 or kinds.count("CORE") > 1 or kinds.count("TASK") > 1:
        raise invalid(
            "A cluster must have one MASTER instance fleet, and at most one CORE and one TASK instance fleet."
        )
    for fleet in fleets:
        check_fleet(fleet)


def check_fleet(fleet: dict[str, Any]) -> None:
    """Raises AwsError: The fleet cannot be provisioned."""
    kind, name = fleet["InstanceFleetType"], fleet.get("Name") or fleet["InstanceFleetType"]
    on_demand, spot = fleet.get("TargetOnDemandCapacity", 0), fleet.get("TargetSpotCapacity", 0)
    types = fleet.get("InstanceTypeConfigs", [])
    launch = fleet.get("LaunchSpecifications", {})
    if not types:
        raise invalid(f"Instance fleet {name}: at least one instance type must be specified.")
    names = [each["InstanceType"] for each in types]
    if len(set(names)) != len(names):
        raise invalid(f"Instance fleet {name}: duplicate instance types are not allowed.")
    if kind == "MASTER" and sorted((on_demand, spot)) != [0, 1]:
        raise invalid("The master instance fleet must have a target capacity of exactly one, on-demand or spot.")
    if on_demand + spot < 1:
        raise invalid(f"Instance fleet {name}: target capacity must be at least one.")
    strategies = [each.get("AllocationStrategy") for each in launch.values()]
    if len(types) > (most := TYPES_BY_STRATEGY if any(strategies) else TYPES):
        raise invalid(f"Instance fleet {name}: {len(types)} instance types, and at most {most} are allowed.")
    minutes = launch.get("SpotSpecification", {}).get("TimeoutDurationMinutes")
    if minutes is not None and minutes not in SPOT_MINUTES:
        raise invalid("TimeoutDurationMinutes must be between 5 and 1440 minutes.")


def check_idle_timeout(policy: dict[str, Any] | None) -> None:
    """Raises AwsError: An auto-termination policy with an idle time that EMR does not take."""
    timeout = (policy or {}).get("IdleTimeout")
    if policy is not None and timeout not in IDLE_TIMEOUT:
        raise invalid("The idle timeout must be between 60 and 604800 seconds.")


def check_scaling(policy: dict[str, Any] | None, request: dict[str, Any]) -> None:
    """Raises AwsError: A managed scaling policy that does not fit the cluster."""
    if policy is None:
        return
    limits = policy.get("ComputeLimits")
    if limits is None:
        raise invalid("ComputeLimits must be specified in a managed scaling policy.")
    fleets = bool(request.get("Instances", {}).get("InstanceFleets"))
    if fleets != (limits["UnitType"] == "InstanceFleetUnits"):
        wanted = "InstanceFleetUnits" if fleets else "Instances or VCPU"
        raise invalid(f"UnitType {limits['UnitType']} does not fit the cluster; use {wanted}.")
    least, most = limits["MinimumCapacityUnits"], limits["MaximumCapacityUnits"]
    if not 1 <= least <= most:
        raise invalid("MinimumCapacityUnits must be at least 1, and not more than MaximumCapacityUnits.")
    for name in ("MaximumOnDemandCapacityUnits", "MaximumCoreCapacityUnits"):
        if limits.get(name, 0) > most:
            raise invalid(f"{name} must not be more than MaximumCapacityUnits.")
