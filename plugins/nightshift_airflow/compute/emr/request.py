"""What a cluster is asked for: one pure function from spec, account and run to the parameters of ``RunJobFlow``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nightshift.emr_settings import EmrSettings
from nightshift.spec.compute import Emr, units_of
from nightshift_airflow.compute.emr.identity import Identity
from nightshift_airflow.compute.emr.packages import Dependencies

# On the nodes, and on the volume that compute.emr.disk_gib is of: EMR mounts it there, and what is elsewhere is on the
# root volume, which is small. Gone with the cluster.
SCRATCH = "/mnt/tmp"
NODE_HOME = f"{SCRATCH}/nightshift"


def cluster_request(
    emr: Emr,
    settings: EmrSettings,
    identity: Identity,
    *,
    needed: Dependencies | None,
    region: str,
    storage: str,
    now: datetime,
) -> dict[str, Any]:
    """Parameters of ``RunJobFlow``.

    Args:
        emr: What the spec says of the cluster.
        settings: The account.
        identity: Whose cluster it is.
        needed: The packages of jobs; None where the nodes have them.
        region: Of the account's connection.
        storage: Root URI of the object store.
        now: When it is created; its deadline counts from here.
    """
    tags = identity.tags(deadline=now + emr.deadline, cost_center=settings.cost_center)
    return {
        "Name": identity.name,
        "ReleaseLabel": emr.release_label or settings.release_label,
        "Applications": [{"Name": "Spark"}],
        "LogUri": f"{settings.log_uri}/",
        "Instances": _instances(emr, settings),
        "ManagedScalingPolicy": {"ComputeLimits": _limits(emr)},
        "AutoTerminationPolicy": {"IdleTimeout": emr.idle_minutes * 60},
        "ScaleDownBehavior": "TERMINATE_AT_TASK_COMPLETION",
        "StepConcurrencyLevel": 1,
        "ServiceRole": settings.service_role,
        "JobFlowRole": settings.instance_profile,
        "SecurityConfiguration": settings.security_configuration,
        "BootstrapActions": _bootstrap(settings, needed),
        "Configurations": _configurations(settings, needed, region=region, storage=storage),
        "VisibleToAllUsers": True,
        "Tags": [{"Key": name, "Value": value} for name, value in tags.items()],
    }


def _instances(emr: Emr, settings: EmrSettings) -> dict[str, Any]:
    return {
        "InstanceFleets": list(_fleets(emr)),
        "Ec2SubnetIds": list(settings.subnets),
        # Between two stages there is no step. The idle timeout is what ends it if nobody else does.
        "KeepJobFlowAliveWhenNoSteps": True,
        "TerminationProtected": False,
        "UnhealthyNodeReplacement": True,
    }


def _fleets(emr: Emr) -> list[dict[str, Any]]:
    fleets = [
        _fleet("MASTER", emr.primary, emr, on_demand=1, weighted=False),
        # These nodes stay. YARN is not told so: it puts executors on them and on task nodes alike.
        _fleet("CORE", emr.core, emr, on_demand=emr.core_units),
    ]
    if emr.spot_units:
        fleets.append(_fleet("TASK", emr.spot, emr, spot=emr.spot_units))
    return fleets


def _fleet(
    kind: str, types: Sequence[str], emr: Emr, *, on_demand: int = 0, spot: int = 0, weighted: bool = True
) -> dict[str, Any]:
    if spot:
        launch: dict[str, Any] = {
            "SpotSpecification": {
                "AllocationStrategy": "price-capacity-optimized",
                "TimeoutAction": "SWITCH_TO_ON_DEMAND",
                "TimeoutDurationMinutes": emr.spot_wait_minutes,
            },
            "OnDemandSpecification": {"AllocationStrategy": "lowest-price"},
        }
    else:
        launch = {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}}
    return {
        "Name": kind.lower(),
        "InstanceFleetType": kind,
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "InstanceTypeConfigs": [_type(one, emr, units_of(one) if weighted else 1) for one in types],
        "LaunchSpecifications": launch,
    }


def _type(instance_type: str, emr: Emr, weight: int) -> dict[str, Any]:
    volume = {"VolumeSpecification": {"VolumeType": "gp3", "SizeInGB": emr.disk_gib}, "VolumesPerInstance": 1}
    return {
        "InstanceType": instance_type,
        "WeightedCapacity": weight,
        "BidPriceAsPercentageOfOnDemandPrice": 100.0,
        "EbsConfiguration": {"EbsBlockDeviceConfigs": [volume]},
    }


def _limits(emr: Emr) -> dict[str, Any]:
    """On demand there are the core nodes, and what the task nodes begin with where spot has none; more is spot.

    Without task nodes there is only the core to grow, on demand.
    """
    return {
        "UnitType": "InstanceFleetUnits",
        "MinimumCapacityUnits": emr.core_units,
        "MaximumCapacityUnits": emr.max_units,
        "MaximumCoreCapacityUnits": emr.core_units if emr.spot_units else emr.max_units,
        "MaximumOnDemandCapacityUnits": emr.core_units + emr.spot_units if emr.spot_units else emr.max_units,
    }


def _bootstrap(settings: EmrSettings, needed: Dependencies | None) -> list[dict[str, Any]]:
    if needed is None:
        return []
    script = {
        "Path": f"{settings.code}/{needed.bootstrap}",
        "Args": [needed.uri, needed.sha256, needed.folder, SCRATCH],
    }
    return [{"Name": "nightshift packages", "ScriptBootstrapAction": script}]


def _configurations(
    settings: EmrSettings, needed: Dependencies | None, *, region: str, storage: str
) -> list[dict[str, Any]]:
    """Variables of drivers; interpreter, packages and scratch of drivers and executors."""
    everywhere = {"TMPDIR": SCRATCH, **({"PYTHONPATH": needed.folder} if needed else {})}
    variables = {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "NIGHTSHIFT_HOME": NODE_HOME,
        "NIGHTSHIFT_STORAGE": storage,
        "PYSPARK_DRIVER_PYTHON": settings.node_python,
        "PYSPARK_PYTHON": settings.node_python,
        **everywhere,
    }
    defaults = {
        "spark.pyspark.driver.python": settings.node_python,
        "spark.pyspark.python": settings.node_python,
        **{f"spark.executorEnv.{name}": value for name, value in everywhere.items()},
    }
    return [
        {
            "Classification": "spark-env",
            "Properties": {},
            "Configurations": [{"Classification": "export", "Properties": variables}],
        },
        {"Classification": "spark-defaults", "Properties": defaults},
    ]
