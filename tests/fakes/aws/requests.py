"""Requests for tests that are about something else: a small cluster, a step."""

from __future__ import annotations

from typing import Any

PROGRAM = "s3://code/jobs/program.py"


def cluster(**changes: Any) -> dict[str, Any]:
    """Parameters of ``RunJobFlow``: one instance, which stays until it has been idle for an hour."""
    fleet = {
        "Name": "primary",
        "InstanceFleetType": "MASTER",
        "TargetOnDemandCapacity": 1,
        "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
    }
    return {
        "Name": "night",
        "ReleaseLabel": "emr-spark-8.1.0",
        "LogUri": "s3://logs/emr/",
        "Applications": [{"Name": "Spark"}],
        "ServiceRole": "EMR_DefaultRole_V2",
        "JobFlowRole": "arn:aws:iam::123456789012:instance-profile/EMR_EC2_DefaultRole",
        "AutoTerminationPolicy": {"IdleTimeout": 3600},
        "Instances": {"KeepJobFlowAliveWhenNoSteps": True, "InstanceFleets": [fleet]},
        **changes,
    }


def step(name: str, *arguments: str, on_failure: str = "CONTINUE", options: tuple[str, ...] = ()) -> dict[str, Any]:
    """A step that submits ``PROGRAM``."""
    return {
        "Name": name,
        "ActionOnFailure": on_failure,
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": ["spark-submit", *options, PROGRAM, *arguments],
        },
    }
