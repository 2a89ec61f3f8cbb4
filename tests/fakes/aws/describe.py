"""Clusters, steps and instances as EMR's answers show them."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.fakes.aws.cluster import Cluster, Step
from tests.fakes.aws.releases import applications

Json = dict[str, Any]
ACCOUNT = "123456789012"
# As they were asked for.
COPIED = (
    *("LogUri", "LogEncryptionKmsKeyId", "ReleaseLabel", "ServiceRole", "SecurityConfiguration", "AutoScalingRole"),
    *("ScaleDownBehavior", "CustomAmiId", "EbsRootVolumeSize", "EbsRootVolumeIops", "EbsRootVolumeThroughput"),
    *("OSReleaseLabel", "KerberosAttributes", "RepoUpgradeOnBoot", "MonitoringConfiguration"),
)
FLEET_STATES = {
    "STARTING": "PROVISIONING",
    "BOOTSTRAPPING": "BOOTSTRAPPING",
    "TERMINATING": "TERMINATING",
    "TERMINATED": "TERMINATED",
    "TERMINATED_WITH_ERRORS": "TERMINATED",
}


def arn(cluster: Cluster) -> str:
    return f"arn:aws:elasticmapreduce:us-east-1:{ACCOUNT}:cluster/{cluster.id}"


def summary(cluster: Cluster, now: float) -> Json:
    """As ``ListClusters`` shows it: without tags."""
    times = {"CreationDateTime": cluster.created, "ReadyDateTime": cluster.ready, "EndDateTime": cluster.ended}
    timeline = {name: at for name, at in times.items() if at is not None}
    status: Json = {"State": cluster.state, "StateChangeReason": cluster.reason, "Timeline": timeline}
    if cluster.state.startswith("TERMINATED_") and cluster.reason.get("Code"):
        status["ErrorDetails"] = [{"ErrorCode": cluster.reason["Code"], "ErrorMessage": cluster.reason["Message"]}]
    hours = int(cluster.instance_seconds(now) // 3600)
    return {
        "Id": cluster.id,
        "Name": cluster.name,
        "Status": status,
        "NormalizedInstanceHours": hours,
        "ClusterArn": arn(cluster),
    }


def cluster(found: Cluster, now: float) -> Json:
    """As ``DescribeCluster`` shows it."""
    request = found.request
    instances = request.get("Instances", {})
    wanted = [each["Name"] for each in request.get("Applications", [])] or ["Spark"]
    versions = {name.lower(): version for name, version in applications(request["ReleaseLabel"]).items()}
    return {
        **summary(found, now),
        **{name: request[name] for name in COPIED if name in request},
        "Applications": [{"Name": name, "Version": versions[name.lower()]} for name in wanted],
        "AutoTerminate": not found.keep_alive,
        "Configurations": request.get("Configurations", []),
        "Ec2InstanceAttributes": _attributes(request),
        "InstanceCollectionType": "INSTANCE_FLEET" if instances.get("InstanceFleets") else "INSTANCE_GROUP",
        "MasterPublicDnsName": f"ip-10-0-0-1.ec2.internal.{found.id}" if found.ready else "",
        "StepConcurrencyLevel": found.concurrency,
        "Tags": [{"Key": key, "Value": value} for key, value in found.tags.items()],
        "TerminationProtected": found.protected,
        "UnhealthyNodeReplacement": instances.get("UnhealthyNodeReplacement", False),
        "VisibleToAllUsers": request.get("VisibleToAllUsers", True),
    }


def _attributes(request: Json) -> Json:
    instances = request.get("Instances", {})
    subnets = instances.get("Ec2SubnetIds") or [instances["Ec2SubnetId"]] if instances.get("Ec2SubnetId") else []
    subnets = instances.get("Ec2SubnetIds") or subnets
    same = ("Ec2KeyName", "EmrManagedMasterSecurityGroup", "EmrManagedSlaveSecurityGroup", "ServiceAccessSecurityGroup")
    return {
        **{name: instances[name] for name in same if name in instances},
        **({"Ec2SubnetId": subnets[0]} if subnets else {}),
        "RequestedEc2SubnetIds": subnets,
        "IamInstanceProfile": request["JobFlowRole"],
    }


def step(found: Step) -> Json:
    """As ``DescribeStep`` shows it."""
    times = {"CreationDateTime": found.created, "StartDateTime": found.started, "EndDateTime": found.ended}
    jar = found.config["HadoopJarStep"]
    properties = {each["Key"]: each["Value"] for each in jar.get("Properties", [])}
    status: Json = {
        "State": found.state,
        "StateChangeReason": {},
        "Timeline": {name: at for name, at in times.items() if at is not None},
    }
    if found.failure:
        status["FailureDetails"] = found.failure
    return {
        "Id": found.id,
        "Name": found.name,
        "Config": {"Jar": jar["Jar"], "Properties": properties, "Args": jar.get("Args", [])},
        "ActionOnFailure": found.config.get("ActionOnFailure", "TERMINATE_CLUSTER"),
        "Status": status,
        **({"ExecutionRoleArn": found.role} if found.role else {}),
    }


def _state(cluster: Cluster) -> str:
    return FLEET_STATES.get(cluster.state, "RUNNING")


def fleets(cluster: Cluster) -> list[Json]:
    """As ``ListInstanceFleets`` shows them: provisioned in full once the cluster is up."""
    up = cluster.ready is not None and cluster.ended is None
    found = []
    for fleet in cluster.request.get("Instances", {}).get("InstanceFleets", []):
        on_demand, spot = fleet.get("TargetOnDemandCapacity", 0), fleet.get("TargetSpotCapacity", 0)
        types = [
            {**{"WeightedCapacity": 1}, **each, "EbsBlockDevices": []} for each in fleet.get("InstanceTypeConfigs", [])
        ]
        for each in types:
            each.pop("EbsConfiguration", None)
        found.append(
            {
                "Id": _id("if-", cluster.id, fleet["InstanceFleetType"]),
                "Name": fleet.get("Name", ""),
                "Status": {"State": _state(cluster), "Timeline": {"CreationDateTime": cluster.created}},
                "InstanceFleetType": fleet["InstanceFleetType"],
                "TargetOnDemandCapacity": on_demand,
                "TargetSpotCapacity": spot,
                "ProvisionedOnDemandCapacity": on_demand if up else 0,
                "ProvisionedSpotCapacity": spot if up else 0,
                "InstanceTypeSpecifications": types,
                "LaunchSpecifications": fleet.get("LaunchSpecifications", {}),
            }
        )
    return found


def groups(cluster: Cluster) -> list[Json]:
    """As ``ListInstanceGroups`` shows them."""
    return [
        {
            "Id": _id("ig-", cluster.id, group["InstanceRole"]),
            "Name": group.get("Name", ""),
            "Market": group.get("Market", "ON_DEMAND"),
            "InstanceGroupType": group["InstanceRole"],
            "InstanceType": group["InstanceType"],
            "RequestedInstanceCount": group["InstanceCount"],
            "RunningInstanceCount": group["InstanceCount"] if cluster.ready and not cluster.ended else 0,
            "Status": {"State": _state(cluster), "Timeline": {"CreationDateTime": cluster.created}},
        }
        for group in cluster.request.get("Instances", {}).get("InstanceGroups", [])
    ]


def instances(cluster: Cluster) -> list[Json]:
    """As ``ListInstances`` shows them: one for each unit of a fleet's capacity, of its first type."""
    if cluster.billed_from is None:
        return []
    state, found = _state(cluster), []
    for fleet in cluster.request.get("Instances", {}).get("InstanceFleets", []):
        first, kind = fleet["InstanceTypeConfigs"][0]["InstanceType"], fleet["InstanceFleetType"]
        for market, count in (
            ("ON_DEMAND", fleet.get("TargetOnDemandCapacity", 0)),
            ("SPOT", fleet.get("TargetSpotCapacity", 0)),
        ):
            for number in range(count):
                place = _id("i-", cluster.id, f"{kind}{market}{number}").lower()
                found.append(
                    {
                        "Id": _id("ci-", cluster.id, f"{kind}{market}{number}"),
                        "Ec2InstanceId": place,
                        "Status": {"State": state, "Timeline": {"CreationDateTime": cluster.created}},
                        "InstanceFleetId": _id("if-", cluster.id, kind),
                        "Market": market,
                        "InstanceType": first,
                    }
                )
    return found


def _id(prefix: str, *parts: str) -> str:
    """The same every time it is asked for."""
    return prefix + hashlib.sha256("/".join(parts).encode()).hexdigest()[:13].upper()
