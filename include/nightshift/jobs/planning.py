"""Plans: made once by whoever starts a run, published, and read by every job of that run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nightshift.errors import NightSkipped, SpecError
from nightshift.plan import Approval, Interval, Plan, Trigger, package_version
from nightshift.settings import Settings
from nightshift.spec.models import ModelSpec
from nightshift.spec.problem import in_words
from nightshift.spec.training_rules import more_than_emr_has
from nightshift.storage import Store
from nightshift.storage.objects import Objects


@dataclass(frozen=True)
class PublishedPlan:
    """Where a plan is, and what its bytes must hash to."""

    uri: str
    sha256: str

    def load(self) -> Plan:
        """Read the plan.

        Raises:
            StorageError: It is not there.
            IntegrityError: It is not the one that was published.
        """
        folder, _, name = self.uri.rpartition("/")
        return Plan.from_json(Objects(folder).read(name), sha256=self.sha256)


def make_plan(spec: ModelSpec, interval: Interval, settings: Settings, *, run_id: str, trigger: Trigger) -> Plan:
    """The plan of a new run, with today's code and settings.

    Raises:
        SpecError: The prepare SQL cannot be used, or training asks for more workers than there can be. Parsing a DAG
            leaves these checks out: one takes time, the other needs the environment of jobs.
        SettingsError: Nothing says where the cluster is.
        NightSkipped: A backfill of a model whose source is static.
    """
    from nightshift.spec.prepare_sql import require_prepare

    if spec.source.static and trigger == "backfill":
        raise NightSkipped(
            f"night {interval.night}: a static source has no past: each night of a backfill would make the same model "
            f"of today's rows. Run one night instead: nightshift run {spec.model} --night {interval.night}"
        )
    require_prepare(spec)
    require_slots(spec, settings)
    return Plan(
        spec=spec,
        interval=interval,
        storage=settings.storage,
        env=settings.env,
        mlflow_uri=settings.mlflow_uri,
        run_id=run_id,
        trigger=trigger,
        threads=settings.threads,
        code_version=package_version(),
    )


def require_slots(spec: ModelSpec, settings: Settings) -> None:
    """Refuse workers that can never all be at once: before data is read, and before a cluster is paid for.

    Raises:
        SpecError: There are too many.
        SettingsError: Nothing says where the cluster is.
    """
    workers = spec.training.workers
    if not isinstance(workers, int) or workers == 1:  # auto takes no more than there are
        return
    match settings.compute_of(spec.compute.target):
        case "local" if workers > settings.threads:
            raise SpecError(
                f"training.workers is {workers}, but jobs run on this machine, with {settings.threads} threads "
                "(NIGHTSHIFT_THREADS), and each worker takes one.",
                hint="set training.workers to 1, which is faster on one machine, or run on a cluster: "
                "compute.target: standalone",
            )
        case "standalone" if settings.spark_cores and workers > settings.spark_cores:
            raise SpecError(
                f"training.workers is {workers}, but a job takes at most {settings.spark_cores} cores of the cluster "
                "(NIGHTSHIFT_SPARK_CORES), and each worker takes one.",
                hint="lower training.workers, or raise NIGHTSHIFT_SPARK_CORES",
            )
        case "emr":
            for problem in more_than_emr_has(spec):
                raise SpecError(in_words(problem))


def replan(plan: Plan, spec: ModelSpec, settings: Settings, *, approval: Approval | None = None) -> Plan:
    """The same run again, with today's spec, code and settings: what a cleared or retried task works by.

    Args:
        plan: The plan that was made.
        spec: The model's spec of today.
        settings: The settings of today.
        approval: The answer that has come since.
    """
    fresh = make_plan(spec, plan.interval, settings, run_id=plan.run_id, trigger=plan.trigger)
    # A run stays where its earlier stages published, whatever the settings say by now.
    return replace(fresh, storage=plan.storage, env=plan.env, approval=approval or plan.approval)


def publish(plan: Plan) -> PublishedPlan:
    """Store a plan in its model's area, under its own digest.

    Raises:
        SettingsError: The store has no conditional create.
        StorageError: The store failed.
    """
    uri, sha256 = Store.of(plan).publish_plan(plan)
    return PublishedPlan(uri, sha256)
