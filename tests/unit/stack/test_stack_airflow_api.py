from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from tests.unit.stack.conftest import Screen

from nightshift.errors import SettingsError, SpecError, StackError
from nightshift.stack import trigger as trigger_module
from nightshift.stack.airflow_api import Airflow, NotUp, Refused
from nightshift.stack.trigger import trigger
from nightshift.stack.web import ask, basic

DAG = "flight_delays__retraining"
RUN = "manual__2026-11-20T02:00:00.123456+00:00"
PASSWORD = "right"


class Api:
    """Answers as Airflow's REST API does; ``nights`` is what the run's tasks do, look by look."""

    def __init__(self) -> None:
        self.dags = {DAG: {"dag_id": DAG, "is_paused": True}}
        self.import_errors: list[dict[str, str]] = []
        self.looks: list[tuple[str, dict[str, str]]] = [("success", {"ingest": "success"})]
        self.log = ["::group::Log message source details: sources=['x']", "ingest: started", "::endgroup::"]
        self.conflict = False
        self.valid_tokens: set[str] = set()
        self.calls: list[tuple[str, str, Any]] = []
        self.away = 0

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, token: str) -> tuple[int, Any]:
        self.calls.append((method, path, body))
        if path == "/auth/token":
            if body != {"username": "admin", "password": PASSWORD}:
                return 401, {"detail": "Invalid credentials"}
            self.valid_tokens.add(f"token-{len(self.calls)}")
            return 201, {"access_token": f"token-{len(self.calls)}"}
        if path == "/api/v2/monitor/health":
            return 200, {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}}
        if token not in self.valid_tokens:
            return 401, {"detail": "Not authenticated"}
        return self.known(method, path.removeprefix("/api/v2"), query, body)

    def known(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if path == "/dags":
            assert query["dag_id_pattern"] == ["%__retraining"]
            return 200, {"dags": [*self.dags.values(), {"dag_id": "other"}], "total_entries": 2}
        if path == "/importErrors":
            return 200, {"import_errors": self.import_errors, "total_entries": len(self.import_errors)}
        name = path.split("/")[2]
        if name not in self.dags:
            return 404, {"detail": f"The Dag with ID: `{name}` was not found"}
        if path == f"/dags/{DAG}":
            self.dags[name] |= body or {}
            return 200, self.dags[name]
        if method == "POST":
            if self.conflict:
                return 409, {"detail": {"reason": "Unique constraint violation", "statement": "INSERT"}}
            if body["conf"].get("night") == "2013-02-28":
                return 422, {"detail": [{"msg": "Input should be a valid date", "loc": ["body", "conf"]}]}
            return 200, {"dag_run_id": RUN, "state": "queued"}
        return self.run(path.removeprefix(f"/dags/{DAG}/dagRuns/{RUN}"))

    def run(self, rest: str) -> tuple[int, Any]:
        state, tasks = self.looks[0]
        if rest == "":
            return 200, {"dag_run_id": RUN, "state": state}
        if rest == "/taskInstances":
            if len(self.looks) > 1:
                self.looks.pop(0)
            return 200, {"task_instances": [task(at, *told) for at, told in enumerate(tasks.items())]}
        return 200, {"content": [{"event": line} for line in self.log], "continuation_token": None}


def task(at: int, name: str, state: str) -> dict[str, Any]:
    word, _, attempt = state.partition("/")
    started = word not in ("", "upstream_failed")
    return {
        "task_id": name,
        "state": word or None,
        "try_number": int(attempt or started),
        "duration": 4.2 if word in ("success", "failed", "skipped") else None,
        "start_date": f"2026-11-20T02:00:0{at}Z" if started else None,
    }


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def airflow(api: Api) -> Iterator[Airflow]:
    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            if api.away:
                api.away -= 1
                self.close_connection = True
                return
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, told = api.answer(self.command, unquote(parts.path), parse_qs(parts.query), body, token)
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = reply

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield Airflow(f"http://127.0.0.1:{server.server_port}", "admin", PASSWORD)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_module, "POLL", 0)


Trigger = Callable[..., bool]


@pytest.fixture
def go(airflow: Airflow, screen: Screen) -> Trigger:
    def run(model: str = "flight_delays", **how: Any) -> bool:
        return trigger(airflow, screen.terminal, model, **{"timeout": 60, **how})

    return run


class TestTrigger:
    def test_a_night(self, go: Trigger, api: Api, airflow: Airflow, screen: Screen) -> None:
        assert go(night="2013-07-15")
        posts = [(path, body) for method, path, body in api.calls if method == "POST" and "dagRuns" in path]
        assert posts == [(f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None, "conf": {"night": "2013-07-15"}})]
        assert screen.lines == [
            f"✓ {DAG} was paused; it is not any more, and runs by its schedule too.",
            f"✓ Started {RUN} for the night 2013-07-15",
            f"  {airflow.url}/dags/{DAG}/runs/manual__2026-11-20T02%3A00%3A00.123456%2B00%3A00",
        ]

    def test_the_last_day_of_one_that_is_not_paused(self, go: Trigger, api: Api, screen: Screen) -> None:
        api.dags[DAG]["is_paused"] = False
        assert go()
        assert [body for method, path, body in api.calls if path.endswith("dagRuns")] == [
            {"logical_date": None, "conf": {}}
        ]
        assert not [call for call in api.calls if call[0] == "PATCH"]
        assert "paused" not in screen.text

    def test_the_password_is_never_shown(self, go: Trigger, airflow: Airflow, screen: Screen) -> None:
        go()
        assert PASSWORD not in repr(airflow)
        assert "token" not in repr(airflow)
        assert PASSWORD not in screen.text.replace("/", " ").split()

    def test_an_unknown_model(self, go: Trigger) -> None:
        with pytest.raises(SpecError, match="there is no model 'flight_dealys'; there is flight_delays") as caught:
            go("flight_dealys")
        assert caught.value.hint == "did you mean flight_delays?"

    def test_no_model_because_airflow_cannot_read_it(self, go: Trigger, api: Api) -> None:
        api.dags.clear()
        api.import_errors = [{"stack_trace": "Traceback\nKeyError: 'x'\n"}]
        with pytest.raises(SpecError, match="there are none") as caught:
            go()
        assert "KeyError" in str(caught.value.hint)

    def test_no_model_yet(self, go: Trigger, api: Api) -> None:
        api.dags.clear()
        with pytest.raises(SpecError) as caught:
            go()
        assert "half a minute" in str(caught.value.hint)

    @pytest.mark.parametrize("night", ["yesterday", "2013-7-15", "2013-02-30", "15.07.2013"])
    def test_what_is_no_night_is_refused_here(self, go: Trigger, api: Api, night: str) -> None:
        with pytest.raises(SettingsError, match="is not a night") as caught:
            go(night=night)
        assert "NIGHT=2013-07-15" in str(caught.value.hint)
        assert api.calls == []

    def test_no_model_named(self, go: Trigger) -> None:
        with pytest.raises(SettingsError, match="no model is named"):
            go("")

    def test_a_run_that_is_there_already(self, go: Trigger, api: Api) -> None:
        api.conflict = True
        with pytest.raises(StackError, match=r"409.*Unique constraint violation") as caught:
            go()
        assert "wait until it ends" in str(caught.value.hint)

    def test_what_airflow_refuses_is_told(self, go: Trigger) -> None:
        with pytest.raises(StackError, match=r"422.*Input should be a valid date"):
            go(night="2013-02-28")

    def test_a_wrong_password(self, airflow: Airflow, screen: Screen) -> None:
        airflow.password = "wrong"
        with pytest.raises(SettingsError, match="refuses the password of admin") as caught:
            trigger(airflow, screen.terminal, "flight_delays", timeout=1)
        assert "make up" in str(caught.value.hint)
        assert "wrong" not in str(caught.value)

    def test_nothing_is_up(self, screen: Screen) -> None:
        with pytest.raises(NotUp, match="Airflow is not up") as caught:
            trigger(Airflow("http://127.0.0.1:1", "admin", ""), screen.terminal, "flight_delays", timeout=1)
        assert "make up" in str(caught.value.hint)


class TestWait:
    def test_the_tasks_as_they_go(self, go: Trigger, api: Api, screen: Screen) -> None:
        api.looks = [
            ("queued", {"ingest": "", "validate": ""}),
            ("running", {"ingest": "running", "validate": ""}),
            ("running", {"ingest": "up_for_retry", "validate": ""}),
            ("running", {"ingest": "running/2", "validate": ""}),
            ("running", {"ingest": "success/2", "validate": "running"}),
            ("success", {"ingest": "success/2", "validate": "success"}),
        ]
        assert go(wait=True)
        assert [" ".join(line.split()[2:]) for line in screen.lines[3:-1]] == [
            "… ingest running",
            "… ingest up_for_retry",
            "… ingest running attempt 2",
            "✓ ingest success 4 s attempt 2",
            "… validate running",
            "✓ validate success 4 s",
        ]
        assert screen.lines[-1] == "✓ The night succeeded: 2 of 2 stages."

    def test_a_failure_ends_with_its_log(self, go: Trigger, api: Api, screen: Screen) -> None:
        api.looks = [("failed", {"ingest": "success", "validate": "failed", "train": "upstream_failed"})]
        api.log = ["::group::x", *(f"line {count}" for count in range(40)), "validate failed.", "::endgroup::"]
        assert not go(wait=True)
        assert "validate failed; its last lines:" in screen.lines
        shown = [line for line in screen.lines if line.startswith("  | ")]
        assert len(shown) == 25
        assert shown[-1] == "  | validate failed."
        assert screen.lines[-1] == "✗ The night failed: 1 of 3 stages."

    def test_a_night_with_nothing_to_do_says_why(self, go: Trigger, api: Api, screen: Screen) -> None:
        api.looks = [("success", {"ingest": "skipped"})]
        api.log = ["ingest: skipped: the source ends 2014-01-01"]
        assert go(wait=True)
        assert "  | ingest: skipped: the source ends 2014-01-01" in screen.lines
        assert screen.lines[-1] == "✓ The night succeeded: 0 of 1 stages, the rest skipped."

    def test_airflow_may_be_away_for_a_while(self, go: Trigger, api: Api, airflow: Airflow, screen: Screen) -> None:
        started: list[bool] = []

        def begin(method: str, path: str, *rest: Any) -> tuple[int, Any]:
            if path.endswith("dagRuns") and not started:
                started.append(True)
                api.away = 3
            return Api.answer(api, method, path, *rest)

        api.answer = begin  # type: ignore[method-assign]
        assert go(wait=True)
        assert api.away == 0

    def test_a_token_that_has_expired_is_renewed(self, go: Trigger, api: Api, airflow: Airflow) -> None:
        airflow.log_in()
        api.valid_tokens.clear()
        assert airflow.models() == ["flight_delays"]
        assert len(api.valid_tokens) == 1

    def test_time_is_up_and_the_run_goes_on(self, go: Trigger, api: Api) -> None:
        api.looks = [("running", {"ingest": "running"})]
        with pytest.raises(StackError, match="has not ended after 0 s; it goes on") as caught:
            go(wait=True, timeout=0)
        assert "/runs/manual__" in str(caught.value.hint)


class TestClient:
    def test_health_needs_no_login(self, airflow: Airflow, api: Api) -> None:
        assert airflow.health() == {"metadatabase": "healthy", "scheduler": "unhealthy"}
        assert airflow.anonymous() == 401
        assert api.valid_tokens == set()

    def test_an_answer_that_is_no_json(self, airflow: Airflow, api: Api) -> None:
        with pytest.raises(Refused, match="404 to GET /dags/nope: The Dag with ID"):
            airflow.is_paused("nope")

    def test_a_login_by_name_and_password(self) -> None:
        assert basic("admin", "pw") == {"Authorization": "Basic YWRtaW46cHc="}

    def test_a_proxy_is_not_asked(self, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert ask(f"{airflow.url}/api/v2/monitor/health").ok
