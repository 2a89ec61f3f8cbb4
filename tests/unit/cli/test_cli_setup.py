from __future__ import annotations

import importlib.metadata
import json
import shlex
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Call, Called

from nightshift.cli import doctor as doctor_module
from nightshift.cli import environment, setup
from nightshift.errors import SettingsError
from nightshift.java import Java
from nightshift.ledger import Ledger
from nightshift.ledger.ledger import entry_name
from nightshift.settings import Settings
from nightshift.storage import Store


@pytest.fixture
def calls(site: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Airflow and MLflow replaced by something fast that leaves the same files; gives Airflow's arguments."""
    seen: list[list[str]] = []

    def airflow(arguments: list[str], variables: dict[str, str]) -> str:
        seen.append(arguments)
        database = Path(variables["AIRFLOW_HOME"]) / "airflow.db"
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS slot_pool (pool TEXT, slots INTEGER)")
            if arguments[:2] == ["pools", "set"]:
                connection.execute("INSERT INTO slot_pool VALUES (?, ?)", (arguments[2], int(arguments[3])))
        connection.close()
        return ""

    def initialise(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).touch()

    java = site / "java"
    monkeypatch.setattr(setup, "airflow", airflow)
    monkeypatch.setattr("nightshift.registry.mlflow_registry.initialise", initialise)
    monkeypatch.setattr("nightshift.java.find_java", lambda home: Java(java, "21.0.8", "PATH"))
    return seen


class TestInit:
    def test_the_first_time(self, call: Call, calls: list[list[str]], site: Path) -> None:
        called = call("init")
        assert called.code == 0
        assert calls == [["db", "migrate"], ["pools", "set", "nightshift_local", "2", "Jobs that run on this machine"]]
        for words in ("Java 21.0.8", "MLflow: sqlite:///", "pool nightshift_local of 2 slots", ".nightshift/env.sh"):
            assert words in called.out
        assert (site / ".nightshift" / "mlflow.db").is_file()

    def test_the_second_time_does_nothing_and_says_so(self, call: Call, calls: list[list[str]]) -> None:
        call("init")
        called = call("init")
        assert "Already set up in .nightshift" in called.out
        assert len(calls) == 2

    def test_force_does_it_again(self, call: Call, calls: list[list[str]]) -> None:
        call("init")
        call("init", "--force")
        assert len(calls) == 4

    @pytest.mark.parametrize("gone", [".airflow/airflow.db", ".nightshift/env.sh", ".nightshift/mlflow.db"])
    def test_what_is_gone_is_made_again(self, call: Call, calls: list[list[str]], site: Path, gone: str) -> None:
        call("init")
        (site / gone).unlink()
        assert "Done" in call("init").out
        assert (site / gone).is_file()

    def test_another_version_is_set_up_again(
        self, call: Call, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call("init")
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "99")
        assert "Done" in call("init").out

    def test_the_secret_is_long_kept_and_nobody_elses(self, call: Call, calls: list[list[str]], site: Path) -> None:
        call("init")
        secret = site / ".airflow" / "jwt_secret"
        first = secret.read_text()
        assert len(first) >= 64
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        call("init", "--force")
        assert secret.read_text() == first
        assert first not in (site / ".nightshift" / "env.sh").read_text()

    def test_a_folder_that_is_no_project(self, call: Call, monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
        monkeypatch.setenv("NIGHTSHIFT_MODELS", str(site / "nowhere" / "models"))
        called = call("init")
        assert (called.code, "there is no folder" in called.err) == (78, True)
        assert not (site / ".nightshift").exists()

    def test_a_failing_airflow_is_quoted(self, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = site / "airflow"
        program.write_text("#!/bin/sh\necho first\necho the reason >&2\nexit 3\n")
        program.chmod(0o755)
        monkeypatch.setattr(setup, "scripts_folder", lambda: site)
        with pytest.raises(SettingsError, match=r"(?s)airflow db migrate ended with exit code 3:.*the reason"):
            setup.airflow(["db", "migrate"], {"PATH": "/usr/bin:/bin"})


class TestEnvSh:
    def test_sourcing_it_gives_exactly_these_variables(self, tmp_path: Path) -> None:
        odd = tmp_path / 'it\'s a "folder" $HOME'
        settings = Settings.from_environment({"NIGHTSHIFT_MODELS": str(odd / "dags" / "models")})
        path = tmp_path / "env.sh"
        path.write_text(environment.env_sh(settings, java_home=odd / "java"))
        command = f". {shlex.quote(str(path))} && . {shlex.quote(str(path))} && env -0"
        done = subprocess.run(
            ["sh", "-c", command], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
        )
        found = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
        expected = environment.airflow_environment(settings, java_home=odd / "java")
        assert {name: found[name] for name in expected} == expected
        assert found["PATH"] == f"{environment.scripts_folder()}:/usr/bin:/bin"

    def test_what_keeps_an_admin_without_password_on_loopback(self, tmp_path: Path) -> None:
        settings = Settings.from_environment({"NIGHTSHIFT_MODELS": str(tmp_path / "dags" / "models")})
        found = environment.airflow_environment(settings, java_home=None)
        assert found["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "True"
        assert found["AIRFLOW__API__HOST"] == "127.0.0.1"
        assert "JAVA_HOME" not in found

    def test_the_java_in_use_is_read_back(self, site: Path) -> None:
        settings = Settings.from_environment()
        assert environment.java_home_in_use(settings) is None
        path = environment.env_sh_path(settings)
        path.parent.mkdir(parents=True)
        path.write_text(environment.env_sh(settings, java_home=site / "a b" / "java"))
        assert environment.java_home_in_use(settings) == site / "a b" / "java"


Doctor = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def doctor(call: Call, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Doctor's checks by name."""
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)

    def run(*arguments: str) -> dict[str, dict[str, str]]:
        called: Called = call("doctor", "--json", *arguments)
        checks = json.loads(called.out)
        assert called.code == (1 if any(check["state"] == "error" for check in checks) else 0)
        return {check["name"]: check for check in checks}

    return run


class TestDoctor:
    def test_before_set_up_everything_that_is_missing_has_its_fix(self, doctor: Doctor) -> None:
        found = doctor()
        for name in ("env.sh", "Airflow", "MLflow"):
            assert (found[name]["state"], found[name]["fix"]) == ("error", "run: nightshift init")
        assert found["Storage"]["state"] == "ok"
        assert found["Model specs"]["found"] == "flight_delays"

    def test_after_set_up_nothing_is_broken(self, call: Call, doctor: Doctor) -> None:
        call("init")
        found = doctor()
        assert {name: check["found"] for name, check in found.items() if check["state"] == "error"} == {}
        assert found["Java"]["found"].startswith("21.0.8 by PATH")
        assert "pool nightshift_local with 2 slots" in found["Airflow"]["found"]
        assert found["env.sh"]["state"] == "warning"

    def test_a_table_for_people(self, call: Call, calls: list[list[str]]) -> None:
        called = call("doctor")
        assert called.code == 1
        assert "what to do" in called.out
        assert "3 broken" in called.out

    def test_a_lost_pool(self, call: Call, doctor: Doctor, site: Path) -> None:
        call("init")
        with sqlite3.connect(site / ".airflow" / "airflow.db") as connection:
            connection.execute("DELETE FROM slot_pool")
        connection.close()
        assert "no task would ever start" in doctor()["Airflow"]["found"]

    def test_a_file_that_is_no_database(self, call: Call, doctor: Doctor, site: Path) -> None:
        call("init")
        (site / ".airflow" / "airflow.db").write_text("nothing like a database, but long enough to be looked at")
        assert "cannot be read" in doctor()["Airflow"]["found"]

    def test_no_java(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        def nothing(home: Path) -> Java:
            raise SettingsError("Spark needs Java:\n  - PATH: no program java", hint="install Java 17")

        monkeypatch.setattr("nightshift.java.find_java", nothing)
        assert doctor()["Java"] == {
            "name": "Java",
            "state": "error",
            "found": "Spark needs Java:; PATH: no program java",
            "fix": "install Java 17",
        }

    def test_a_store_that_lets_two_writers_win(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "nightshift.storage.objects.Objects.create", lambda self, name, data: self.write(name, data) or True
        )
        assert "let 8 of 8 writers" in doctor()["Storage"]["found"]

    def test_a_store_that_cannot_be_opened(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NIGHTSHIFT_STORAGE", "nonsense://x")
        assert doctor()["Storage"]["state"] == "error"

    def test_a_ledger_that_somebody_rewrote(self, doctor: Doctor) -> None:
        assert doctor()["Ledgers"]["found"] == "entries that follow each other: flight_delays 0"
        settings = Settings.from_environment()
        ledger = Ledger(Store.open(settings.storage, env=settings.env, model="flight_delays"))
        for reason in ("first", "second"):
            ledger.put_on_hold(reason=reason, by="somebody")
            ledger.resume(reason=reason, by="somebody")
        assert doctor()["Ledgers"]["found"].endswith("flight_delays 4")
        entry = Path(settings.storage.removeprefix("file://"), settings.env, "flight_delays", entry_name(2))
        entry.write_bytes(entry.read_bytes().replace(b"first", b"never"))
        assert doctor()["Ledgers"]["state"] == "error"
        assert f"{entry_name(2)} was changed" in doctor()["Ledgers"]["found"]

    def test_a_broken_spec(self, doctor: Doctor, site: Path) -> None:
        (site / "dags" / "models" / "broken.yaml").write_text("model: broken\n")
        found = doctor()["Model specs"]
        assert (found["state"], found["fix"]) == ("error", "run: nightshift validate")

    def test_another_version_of_a_pinned_package(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor_module, "_pinned", lambda: [("mlflow", "3.17.2", "3.18.0"), ("onnx", "1.18", None)])
        assert doctor()["Packages"]["found"] == "mlflow 3.18.0 (expected 3.17.2); onnx missing (expected 1.18)"

    def test_either_of_two_pinned_versions_will_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = ['apache-airflow==3.3.2; extra == "airflow"', 'apache-airflow==3.2.1; extra == "mwaa"']
        monkeypatch.setattr("importlib.metadata.requires", lambda name: asked)
        for installed, expected in (("3.3.2", "3.3.2"), ("3.2.1", "3.2.1"), ("3.0.0", "3.3.2")):
            monkeypatch.setattr(doctor_module, "_version", lambda name, found=installed: found)
            assert doctor_module._pinned() == [("apache-airflow", expected, installed)]

    def test_two_sparks_in_one_folder(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor_module, "_version", lambda name: "4.2.0")
        assert doctor()["pyspark"]["found"] == "pyspark-client is installed over it"

    @pytest.mark.parametrize(("value", "state"), [("/nowhere/python", "error"), ("/bin/sh", "warning")])
    def test_another_python_for_sparks_workers(
        self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, value: str, state: str
    ) -> None:
        monkeypatch.setenv("PYSPARK_PYTHON", value)
        assert doctor()["PYSPARK_PYTHON"]["state"] == state

    def test_connections_of_specs(
        self, call: Call, doctor: Doctor, site: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call("init")
        assert doctor("--airflow")["Connections"]["found"] == "the specs name none"
        spec = site / "dags" / "models" / "flight_delays.yaml"
        spec.write_text(spec.read_text() + "notify: {connection: team_hook}\n")
        assert doctor("--airflow")["Connections"]["state"] == "ok"

        def unknown(arguments: list[str], variables: dict[str, str]) -> str:
            raise SettingsError("airflow connections get ended with exit code 1:\nConnection not found.")

        monkeypatch.setattr(setup, "airflow", unknown)
        found = doctor("--airflow")["Connections"]
        assert (found["state"], found["found"]) == ("error", "team_hook: Connection not found.")
        assert "airflow connections add team_hook" in found["fix"]


class TestDoctorOfTheStack:
    def test_it_asks_the_stack_and_nothing_else(
        self, call: Call, site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (site / "docker-compose.yaml").write_text("name: nightshift\n")
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        called = call("doctor", "--stack", "--json")
        assert called.code == 1
        (only,) = json.loads(called.out)
        assert (only["name"], only["state"]) == ("Docker", "error")
        assert "install Docker" in only["fix"]
        assert "Docker" in call("doctor", "--stack").out

    def test_outside_of_a_checkout(self, call: Call) -> None:
        called = call("doctor", "--stack")
        assert called.code == 78
        assert "docker-compose.yaml" in called.err
