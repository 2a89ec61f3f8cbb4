"""The operations of Amazon EMR: each takes the parameters of a request and gives those of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.fakes.aws import describe, spark_submit
from tests.fakes.aws.catalogue import Catalogue, page
from tests.fakes.aws.cluster import STEP_ENDED, Cluster, Step
from tests.fakes.aws.service import Json, Service
from tests.fakes.aws.validation import (
    check_cluster,
    check_fleet,
    check_idle_timeout,
    check_scaling,
    invalid,
    is_role,
    service_model,
)
from tests.fakes.aws.wire import AwsError

MOST_STEPS = 256
JAR = "command-runner.jar"
UNCHANGEABLE = "A job flow that is shutting down, terminated, or finished may not be modified."


class Emr(Service[Cluster, Step]):
    """Clusters of one account and region.

    Args:
        boot: Starts a cluster's bootstrap actions.
        wishes: What every service takes.
    """

    def __init__(self, *, boot: Callable[[Cluster], None], **wishes: Any) -> None:
        super().__init__(service_model(), **wishes)
        self._boot = boot
        self._catalogue = Catalogue(self._clock)

    # What tests and the server ask for.

    def clusters(self) -> list[Cluster]:
        """All that ever were, the oldest first."""
        return self._all()

    def ended(self, cluster: Cluster, step: Step, state: str, failure: dict[str, str] | None) -> None:
        """A step's program has ended."""
        with self._lock:
            if step.state not in STEP_ENDED:
                cluster.finish(step, state, self._clock.now(), failure)
                cluster.settle(self._clock.now())

    def booted(self, cluster: Cluster, failed: int | None) -> None:
        """A cluster's bootstrap actions have ended, or the one that is named has failed."""
        with self._lock:
            cluster.booted(failed, self._clock.now())
            cluster.settle(self._clock.now())

    def lose_instances(self, cluster_id: str) -> None:
        """Let EC2 take a cluster's spot instances back."""
        with self._lock:
            self._cluster(cluster_id).lose_instances(self._clock.now())
            self.settle()

    def forget(self) -> None:
        """End all steps and forget all clusters."""
        with self._lock:
            for cluster in self._resources.values():
                cluster.terminate("USER_REQUEST", "Terminated by user request", self._clock.now())
            self._resources.clear()
            self._catalogue.security.clear()

    def _handler(self, name: str) -> Callable[[Json], Json] | None:
        return super()._handler(name) or getattr(self._catalogue, name, None)

    # Clusters.

    def _run_job_flow(self, p: Json) -> Json:
        check_cluster(p, self._catalogue.security)
        self._check_steps(p.get("Steps", []))
        for action in p.get("BootstrapActions", []):
            self._check_program(action["ScriptBootstrapAction"]["Path"])
        now = self._clock.now()
        cluster = Cluster(
            p, at=now, timing=self._timing, injections=self._injections, start=self._start, boot=self._boot
        )
        for config in p.get("Steps", []):
            cluster.add(Step(config, now, p.get("StepExecutionRoleArn")))
        self._resources[cluster.id] = cluster
        return {"JobFlowId": cluster.id, "ClusterArn": describe.arn(cluster)}

    def _describe_cluster(self, p: Json) -> Json:
        return {"Cluster": describe.cluster(self._cluster(p["ClusterId"]), self._clock.now())}

    def _list_clusters(self, p: Json) -> Json:
        found = [
            describe.summary(cluster, self._clock.now())
            for cluster in sorted(self._resources.values(), key=lambda each: each.created, reverse=True)
            if (not p.get("ClusterStates") or cluster.state in p["ClusterStates"])
            and cluster.created > p.get("CreatedAfter", 0)
            and cluster.created < p.get("CreatedBefore", float("inf"))
        ]
        return page("Clusters", found, p)

    def _terminate_job_flows(self, p: Json) -> Json:
        chosen = [self._job_flow(each) for each in p["JobFlowIds"]]
        protected = [cluster for cluster in chosen if cluster.protected and cluster.alive()]
        for cluster in chosen:
            if cluster not in protected:
                cluster.terminate("USER_REQUEST", "Terminated by user request", self._clock.now())
        if protected:
            raise invalid("Could not shut down one or more job flows since they are termination protected.")
        return {}

    def _set_termination_protection(self, p: Json) -> Json:
        for each in p["JobFlowIds"]:
            self._changeable_flow(each).protected = p["TerminationProtected"]
        return {}

    def _set_keep_job_flow_alive_when_no_steps(self, p: Json) -> Json:
        for each in p["JobFlowIds"]:
            self._changeable_flow(each).keep_alive = p["KeepJobFlowAliveWhenNoSteps"]
        return {}

    def _modify_cluster(self, p: Json) -> Json:
        cluster = self._cluster(p["ClusterId"])
        cluster.concurrency = p.get("StepConcurrencyLevel", cluster.concurrency)
        return {"StepConcurrencyLevel": cluster.concurrency}

    def _add_tags(self, p: Json) -> Json:
        self._cluster(p["ResourceId"]).tags.update({tag["Key"]: tag.get("Value", "") for tag in p["Tags"]})
        return {}

    def _remove_tags(self, p: Json) -> Json:
        for key in p["TagKeys"]:
            self._cluster(p["ResourceId"]).tags.pop(key, None)
        return {}

    # Steps.

    def _add_job_flow_steps(self, p: Json) -> Json:
        cluster, role = self._changeable_flow(p["JobFlowId"]), p.get("ExecutionRoleArn")
        self._check_steps(p["Steps"])
        if sum(step.state not in STEP_ENDED for step in cluster.steps) + len(p["Steps"]) > MOST_STEPS:
            raise invalid("Maximum number of steps for job flow exceeded")
        if role is not None:
            self._check_runtime_role(cluster, role)
        added = [Step(config, self._clock.now(), role) for config in p["Steps"]]
        for step in added:
            cluster.add(step)
        return {"StepIds": [step.id for step in added]}

    def _describe_step(self, p: Json) -> Json:
        cluster = self._cluster(p["ClusterId"])
        return {"Step": describe.step(self._step(cluster, p["StepId"]))}

    def _list_steps(self, p: Json) -> Json:
        wanted, states = p.get("StepIds"), p.get("StepStates")
        if wanted and states:
            raise AwsError("InvalidRequestException", "Cannot specify both StepIds and StepStates.")
        cluster = self._cluster(p["ClusterId"])
        steps = [self._step(cluster, each) for each in wanted] if wanted else list(reversed(cluster.steps))
        found = [describe.step(step) for step in steps if not states or step.state in states]
        return page("Steps", found, p)

    def _cancel_steps(self, p: Json) -> Json:
        cluster, answers = self._cluster(p["ClusterId"]), []
        for step_id in p["StepIds"]:
            step = next((each for each in cluster.steps if each.id == step_id), None)
            if step is None:
                answers.append({"StepId": step_id, "Status": "FAILED", "Reason": "The step id does not exist."})
            elif step.state in STEP_ENDED:
                words = f"Step {step_id} is already in {step.state} state."
                answers.append({"StepId": step_id, "Status": "FAILED", "Reason": words})
            else:
                cluster.cancel(step, self._clock.now())
                answers.append({"StepId": step_id, "Status": "SUBMITTED"})
        return {"CancelStepsInfoList": answers}

    # Instances and policies.

    def _list_instance_fleets(self, p: Json) -> Json:
        return page("InstanceFleets", describe.fleets(self._cluster(p["ClusterId"])), p)

    def _list_instance_groups(self, p: Json) -> Json:
        return page("InstanceGroups", describe.groups(self._cluster(p["ClusterId"])), p)

    def _list_instances(self, p: Json) -> Json:
        found = describe.instances(self._cluster(p["ClusterId"]))
        kind, states = p.get("InstanceFleetType"), p.get("InstanceStates")
        fleets = {each["Id"]: each["InstanceFleetType"] for each in describe.fleets(self._cluster(p["ClusterId"]))}
        chosen = [
            each
            for each in found
            if (kind is None or fleets.get(each.get("InstanceFleetId", "")) == kind)
            and (not states or each["Status"]["State"] in states)
        ]
        return page("Instances", chosen, p)

    def _list_bootstrap_actions(self, p: Json) -> Json:
        actions = self._cluster(p["ClusterId"]).request.get("BootstrapActions", [])
        found = [
            {"Name": each["Name"], "ScriptPath": each["ScriptBootstrapAction"]["Path"]}
            | {"Args": each["ScriptBootstrapAction"].get("Args", [])}
            for each in actions
        ]
        return page("BootstrapActions", found, p)

    def _add_instance_fleet(self, p: Json) -> Json:
        cluster = self._changeable(p["ClusterId"])
        check_fleet(p["InstanceFleet"])
        fleets = cluster.request["Instances"].setdefault("InstanceFleets", [])
        if p["InstanceFleet"]["InstanceFleetType"] != "TASK" or any(f["InstanceFleetType"] == "TASK" for f in fleets):
            raise AwsError("InvalidRequestException", "Only one TASK instance fleet can be added to a cluster.")
        fleets.append(p["InstanceFleet"])
        return {"ClusterId": cluster.id, "InstanceFleetId": describe.fleets(cluster)[-1]["Id"]}

    def _put_auto_termination_policy(self, p: Json) -> Json:
        policy = p.get("AutoTerminationPolicy")
        check_idle_timeout(policy or {})
        self._changeable(p["ClusterId"]).idle_timeout = (policy or {})["IdleTimeout"]
        return {}

    def _get_auto_termination_policy(self, p: Json) -> Json:
        timeout = self._cluster(p["ClusterId"]).idle_timeout
        return {} if timeout is None else {"AutoTerminationPolicy": {"IdleTimeout": timeout}}

    def _remove_auto_termination_policy(self, p: Json) -> Json:
        self._changeable(p["ClusterId"]).idle_timeout = None
        return {}

    def _put_managed_scaling_policy(self, p: Json) -> Json:
        cluster = self._changeable(p["ClusterId"])
        check_scaling(p["ManagedScalingPolicy"], cluster.request)
        cluster.scaling = p["ManagedScalingPolicy"]
        return {}

    def _get_managed_scaling_policy(self, p: Json) -> Json:
        policy = self._cluster(p["ClusterId"]).scaling
        return {} if policy is None else {"ManagedScalingPolicy": policy}

    def _remove_managed_scaling_policy(self, p: Json) -> Json:
        self._changeable(p["ClusterId"]).scaling = None
        return {}

    # Checks.

    def _cluster(self, cluster_id: str) -> Cluster:
        if cluster_id not in self._resources:
            raise AwsError("InvalidRequestException", f"Cluster id '{cluster_id}' is not valid.")
        return self._resources[cluster_id]

    def _job_flow(self, job_flow_id: str) -> Cluster:
        """The same, in the words of the older operations."""
        if job_flow_id not in self._resources:
            raise invalid("Specified job flow ID does not exist.")
        return self._resources[job_flow_id]

    def _changeable(self, cluster_id: str) -> Cluster:
        cluster = self._cluster(cluster_id)
        if not _may_change(cluster):
            raise AwsError("InvalidRequestException", UNCHANGEABLE)
        return cluster

    def _changeable_flow(self, job_flow_id: str) -> Cluster:
        cluster = self._job_flow(job_flow_id)
        if not _may_change(cluster):
            raise invalid(UNCHANGEABLE)
        return cluster

    def _step(self, cluster: Cluster, step_id: str) -> Step:
        found = next((step for step in cluster.steps if step.id == step_id), None)
        if found is None:
            raise AwsError("InvalidRequestException", f"Step id '{step_id}' is not valid.")
        return found

    def _check_steps(self, steps: Iterable[Json]) -> None:
        """Raises AwsError: A step that EMR would not take, or that must not run on this machine."""
        for config in steps:
            if config["HadoopJarStep"].get("Jar") != JAR:
                raise invalid(f"The double runs {JAR} only, not {config['HadoopJarStep'].get('Jar')}.")
            try:
                program = spark_submit.parse(config["HadoopJarStep"].get("Args", [])).program
            except ValueError as error:
                raise invalid(f"The double refuses the step {config['Name']}: {error}.") from error
            self._check_program(program)

    def _check_runtime_role(self, cluster: Cluster, role: str) -> None:
        if not role.startswith("arn:") or not is_role(role):
            raise invalid(f"Invalid execution role ARN: {role}.")
        if not self._catalogue.allows_runtime_roles(cluster.request.get("SecurityConfiguration")):
            raise invalid(
                "Runtime roles are not enabled for the cluster: its security configuration must set "
                "EnableApplicationScopedIAMRole."
            )

    def _start(self, cluster: Cluster, step: Step) -> None:
        fault = self._injections.for_step(step.name)
        if fault is not None and fault.kind == "SPOT_LOSS":
            cluster.lose_instances(step.started or self._clock.now())
        else:
            self._start_program(cluster, step, fault)


def _may_change(cluster: Cluster) -> bool:
    return cluster.alive() and cluster.state != "TERMINATING"
