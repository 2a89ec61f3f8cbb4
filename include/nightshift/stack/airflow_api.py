"""Airflow's REST API: log in, find a model's DAG, start a run, follow it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from nightshift.errors import SettingsError, StackError
from nightshift.stack.web import Answer, Unreachable, ask

PROCESS = "retraining"
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT = 401, 403, 404, 409
PAGE = 100
NOISE = ("::group::", "::endgroup::")


@dataclass(frozen=True)
class Task:
    """A task of a run.

    Attributes:
        name: Its stage.
        state: As Airflow calls it; empty before it is scheduled.
        attempt: 1 the first time.
        seconds: That it ran, if it has ended.
        began: When it started, as Airflow writes times; empty before.
    """

    name: str
    state: str
    attempt: int = 0
    seconds: float | None = None
    began: str = ""


@dataclass
class Airflow:
    """One Airflow, as one user.

    Attributes:
        url: Its base URL.
        user: Who we are there.
        password: Sent to ``/auth/token`` only.
    """

    url: str
    user: str
    password: str = field(repr=False)
    _token: str = field(default="", repr=False)

    def log_in(self) -> None:
        """Get a token.

        Raises:
            SettingsError: Airflow does not take the password.
            StackError: It is not up.
        """
        login = {"username": self.user, "password": self.password}
        answer = self._ask("/auth/token", method="POST", content=login)
        if answer.status in (UNAUTHORIZED, FORBIDDEN):
            raise SettingsError(
                f"Airflow at {self.url} refuses the password of {self.user}.",
                hint=".env has another one than the stack was started with: make up",
            )
        if not answer.ok:
            raise StackError(f"Airflow's login answered {answer.status}: {answer.told()}", hint="make ps; make logs")
        self._token = str(answer.json()["access_token"])

    def health(self) -> dict[str, str]:
        """Status of metadatabase, scheduler, triggerer and dag_processor; needs no login."""
        answer = self._ask("/api/v2/monitor/health")
        if not answer.ok:
            raise StackError(f"Airflow's health page answered {answer.status}: {answer.told()}")
        return {name: str((told or {}).get("status")) for name, told in answer.json().items()}

    def anonymous(self) -> int:
        """The status that somebody without a login gets for the list of DAGs."""
        return self._ask("/api/v2/dags?limit=1").status

    def models(self) -> list[str]:
        """The models that have a DAG of retraining."""
        query = urlencode({"dag_id_pattern": f"%__{PROCESS}", "limit": PAGE, "order_by": "dag_id"})
        found = self.call("GET", f"/dags?{query}")["dags"]
        return [dag["dag_id"].removesuffix(f"__{PROCESS}") for dag in found if dag["dag_id"].endswith(f"__{PROCESS}")]

    def import_errors(self) -> list[str]:
        """What Airflow could not read, one text per file."""
        return [str(error["stack_trace"]) for error in self.call("GET", "/importErrors")["import_errors"]]

    def is_paused(self, dag: str) -> bool:
        return bool(self.call("GET", f"/dags/{quote(dag)}")["is_paused"])

    def unpause(self, dag: str) -> None:
        self.call("PATCH", f"/dags/{quote(dag)}?update_mask=is_paused", {"is_paused": False})

    def trigger(self, dag: str, conf: dict[str, str]) -> str:
        """Start a run; gives its id."""
        body = {"logical_date": None, "conf": conf}
        return str(self.call("POST", f"/dags/{quote(dag)}/dagRuns", body)["dag_run_id"])

    def state(self, dag: str, run: str) -> str:
        return str(self.call("GET", self._run(dag, run))["state"])

    def tasks(self, dag: str, run: str) -> list[Task]:
        """The run's tasks; those that have started come first, in that order."""
        found = self.call("GET", f"{self._run(dag, run)}/taskInstances?limit={PAGE}")["task_instances"]
        tasks = [
            Task(
                name=str(task["task_id"]),
                state=str(task["state"] or ""),
                attempt=int(task["try_number"] or 0),
                seconds=task.get("duration"),
                began=str(task.get("start_date") or ""),
            )
            for task in found
        ]
        return sorted(tasks, key=lambda task: (not task.began, task.began))

    def log(self, dag: str, run: str, task: Task) -> list[str]:
        """The lines of a task's last attempt."""
        told = self.call("GET", f"{self._run(dag, run)}/taskInstances/{quote(task.name)}/logs/{max(task.attempt, 1)}")
        lines = [str(line.get("event", "")) if isinstance(line, dict) else str(line) for line in told["content"]]
        return [part for line in lines for part in line.splitlines() if part.strip() and not part.startswith(NOISE)]

    def page(self, dag: str, run: str) -> str:
        """Where people see the run."""
        return f"{self.url}/dags/{quote(dag)}/runs/{quote(run, safe='')}"

    def call(self, method: str, path: str, content: Any = None) -> Any:
        """An answer of the API.

        Raises:
            Refused: Airflow answered with an error.
            StackError: It does not answer.
        """
        if not self._token:
            self.log_in()
        answer = self._authorized(method, path, content)
        if answer.status == UNAUTHORIZED:  # the token has expired, or Airflow has other secrets than a moment ago
            self.log_in()
            answer = self._authorized(method, path, content)
        if not answer.ok:
            raise Refused(method, path, answer)
        return answer.json()

    def _authorized(self, method: str, path: str, content: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._ask(f"/api/v2{path}", method=method, content=content, headers=headers)

    def _ask(self, path: str, **how: Any) -> Answer:
        try:
            return ask(f"{self.url}{path}", **how)
        except Unreachable as error:
            raise NotUp(f"Airflow is not up: {error.message}", hint="start it: make up; see it: make ps") from error

    @staticmethod
    def _run(dag: str, run: str) -> str:
        return f"/dags/{quote(dag)}/dagRuns/{quote(run, safe='')}"


class NotUp(StackError):
    """Airflow does not answer."""


class Refused(StackError):
    """Airflow answered with an error.

    Attributes:
        status: HTTP's.
        told: What Airflow says about it.
    """

    def __init__(self, method: str, path: str, answer: Answer) -> None:
        self.status, self.told = answer.status, answer.told()
        super().__init__(f"Airflow answered {self.status} to {method} {path.partition('?')[0]}: {self.told}")
