"""A run of a DAG in Airflow's own database, with Airflow's own rules for what a person does to it and how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG
    from sqlalchemy.orm import Session

BUNDLE = "dags-folder"
AT = datetime(2013, 7, 15, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Instance:
    """What Airflow's rule for the state of a run looks at."""

    task_id: str
    state: Any


def state_of_run(dag: DAG, states: Mapping[str, str]) -> str:
    """The state that Airflow gives a run whose tasks have all ended, by its own choice of the tasks that count."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import State, TaskInstanceState

    instances = [Instance(name, TaskInstanceState(state)) for name, state in states.items()]
    counting = DagRun._tis_for_dagrun_state(None, dag=dag, tis=instances)  # type: ignore[arg-type]
    return "failed" if any(one.state in State.failed_states for one in counting) else "success"


class StoredRun:
    """A run that has begun.

    Args:
        dag: Its DAG.
        run_id: Its id; one that is there already is thrown away.
    """

    def __init__(self, dag: DAG, run_id: str) -> None:
        from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG

        self._dag = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        self._run_id = run_id
        with _session() as session:
            self._store(LazyDeserializedDAG.from_dag(dag), session)
        with _session() as session:
            self._begin(session)

    def _store(self, dag: Any, session: Session) -> None:
        from airflow.models.dagbundle import DagBundleModel
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.serialization.definitions.dag import SerializedDAG

        if session.get(DagBundleModel, BUNDLE) is None:
            session.add(DagBundleModel(name=BUNDLE))
            session.flush()
        SerializedDAG.bulk_write_to_db(BUNDLE, None, [dag], session=session)
        SerializedDagModel.write_dag(dag, bundle_name=BUNDLE, session=session)

    def _begin(self, session: Session) -> None:
        from airflow.models.dagrun import DagRun
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType
        from sqlalchemy import delete

        session.execute(delete(DagRun).where(DagRun.dag_id == self._dag.dag_id))
        self._dag.create_dagrun(
            run_id=self._run_id,
            logical_date=AT,
            data_interval=(AT, AT),
            run_after=AT,
            start_date=AT,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )

    def put(self, states: Mapping[str, str]) -> None:
        """Bring tasks to states."""
        with _session() as session:
            for instance in self._run(session).get_task_instances(session=session):
                if instance.task_id in states:
                    instance.set_state(states[instance.task_id], session=session)

    def mark(self, state: Literal["failed", "success"]) -> dict[str, str]:
        """What the button does; gives the states of the tasks that have one."""
        from airflow.api.common import mark_tasks

        button = mark_tasks.set_dag_run_state_to_failed
        if state == "success":
            button = mark_tasks.set_dag_run_state_to_success
        with _session() as session:
            button(dag=self._dag, run_id=self._run_id, commit=True, session=session)
        with _session() as session:
            instances = self._run(session).get_task_instances(session=session)
            return {instance.task_id: str(instance.state) for instance in instances if instance.state}

    def conclude(self) -> str:
        """What the scheduler makes of the run now; gives its state."""
        with _session() as session:
            run = self._run(session)
            run.dag = self._dag
            run.update_state(session=session, execute_callbacks=False)
            return str(run.state)

    def _run(self, session: Session) -> DagRun:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        return session.scalars(
            select(DagRun).where(DagRun.dag_id == self._dag.dag_id, DagRun.run_id == self._run_id)
        ).one()


@contextmanager
def _session() -> Iterator[Session]:
    from airflow.utils.session import create_session

    with create_session() as session:
        yield session
