from __future__ import annotations

import base64
import os
import re
import stat
import threading
from pathlib import Path

import pytest
import yaml

from nightshift.stack import env_file
from nightshift.stack.variables import OPTIONS, SECRETS

ROOT = Path(__file__).parents[3]
COMPOSE = (ROOT / "docker-compose.yaml").read_text()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestTheFirstTime:
    def test_every_secret_is_there_and_nobody_else_reads_it(self, project: Path, umask: None) -> None:
        written = env_file.ensure(project)
        there = env_file.read(project / ".env")
        assert written.fresh
        assert set(there) == {secret.name for secret in SECRETS}
        assert all(there.values())
        assert mode(project / ".env") == 0o600

    def test_no_secret_needs_quoting_anywhere(self, project: Path) -> None:
        env_file.ensure(project)
        for name, value in env_file.read(project / ".env").items():
            assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_=-]*", value), name

    def test_two_files_share_no_secret(self, tmp_path: Path) -> None:
        found = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            env_file.ensure(tmp_path / name)
            found.append(set(env_file.read(tmp_path / name / ".env").values()))
        assert len(found[0]) == len(SECRETS)
        assert not found[0] & found[1]

    def test_lengths_are_what_the_programs_ask_for(self, project: Path) -> None:
        env_file.ensure(project)
        there = env_file.read(project / ".env")
        assert len(there["AIRFLOW_JWT_SECRET"]) >= 64
        assert len(base64.urlsafe_b64decode(there["AIRFLOW_FERNET_KEY"])) == 32
        assert len(there["MLFLOW_ADMIN_PASSWORD"]) >= 12
        assert 3 <= len(there["MINIO_ROOT_USER"]) <= 20
        assert 8 <= len(there["MINIO_ROOT_PASSWORD"]) <= 40

    def test_nothing_is_printed_but_the_path(self, project: Path) -> None:
        told = str(env_file.ensure(project))
        assert str(project / ".env") in told
        assert not [value for value in env_file.read(project / ".env").values() if value in told]

    def test_nothing_half_written_stays_where_it_cannot_be_finished(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            env_file.ensure(project)
        assert [path.name for path in project.iterdir()] == ["docker-compose.yaml"]

    def test_of_many_at_once_one_wins_and_all_see_the_same(self, project: Path) -> None:
        threads = [threading.Thread(target=env_file.ensure, args=(project,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [path.name for path in project.glob(".env*")] == [".env"]
        assert not env_file.lacking(project / ".env")

    def test_a_file_system_without_links_will_do(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def unsupported(*_: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", unsupported)
        assert env_file.ensure(project).fresh
        assert mode(project / ".env") == 0o600


class TestTheSecondTime:
    def test_nothing_changes(self, project: Path) -> None:
        env_file.ensure(project)
        before = (project / ".env").read_bytes()
        written = env_file.ensure(project)
        assert (project / ".env").read_bytes() == before
        assert (written.fresh, written.added, written.tightened) == (False, (), False)
        assert "is there" in str(written)

    def test_an_older_file_gets_what_it_lacks_and_only_that(self, project: Path, umask: None) -> None:
        mine = 'POSTGRES_PASSWORD=mine\n# AIRFLOW_PORT=8080\nMINIO_ROOT_USER=\nexport MY_OWN="a b"\n'
        (project / ".env").write_text(mine)
        written = env_file.ensure(project)
        there = env_file.read(project / ".env")
        assert there["POSTGRES_PASSWORD"] == "mine"
        assert there["MY_OWN"] == "a b"
        assert not env_file.lacking(project / ".env")
        assert "POSTGRES_PASSWORD" not in written.added
        assert {"MINIO_ROOT_USER", "SPARK_AUTH_SECRET"} <= set(written.added)
        assert (project / ".env").read_text().count("MINIO_ROOT_USER=") == 1
        assert "Added what it lacked: " in str(written)
        assert mode(project / ".env") == 0o600

    def test_a_file_that_others_can_read_is_closed(self, project: Path) -> None:
        env_file.ensure(project)
        (project / ".env").chmod(0o644)
        assert not env_file.is_private(project / ".env")
        assert env_file.ensure(project).tightened
        assert env_file.is_private(project / ".env")

    def test_a_link_to_a_file_elsewhere_stays_a_link(self, project: Path, tmp_path: Path) -> None:
        elsewhere = tmp_path / "vault"
        elsewhere.write_text("POSTGRES_PASSWORD=mine\n")
        (project / ".env").symlink_to(elsewhere)
        env_file.ensure(project)
        assert (project / ".env").is_symlink()
        assert not env_file.lacking(elsewhere)


class TestReading:
    def test_as_compose_reads_it(self, project: Path) -> None:
        (project / ".env").write_text("A=1  # why\nB='x # y'\nexport C = d \n# D=2\nE=#\nF=a#b\nnonsense\n")
        assert env_file.read(project / ".env") == {"A": "1", "B": "x # y", "C": "d", "E": "", "F": "a#b"}

    def test_the_shell_comes_before_the_file_and_the_file_before_defaults(self, project: Path) -> None:
        (project / ".env").write_text("AIRFLOW_PORT=8090\nMLFLOW_PORT=5001\nPOSTGRES_PASSWORD=file\nMINIO_PORT=\n")
        found = env_file.values(project, {"AIRFLOW_PORT": "9999", "MLFLOW_PORT": "", "HOME": "/"})
        assert (found["AIRFLOW_PORT"], found["MLFLOW_PORT"], found["MINIO_PORT"]) == ("9999", "5001", "9000")
        assert found["POSTGRES_PASSWORD"] == "file"
        assert "HOME" not in found

    def test_a_secret_that_the_shell_replaces_is_named(self, project: Path) -> None:
        env_file.ensure(project)
        same = env_file.read(project / ".env")["SPARK_AUTH_SECRET"]
        environ = {"POSTGRES_PASSWORD": "other", "SPARK_AUTH_SECRET": same}
        assert env_file.overridden(project / ".env", environ) == ["POSTGRES_PASSWORD"]


class TestAgainstTheComposeFile:
    def test_secrets_are_exactly_what_it_demands(self) -> None:
        demanded = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
        assert demanded == {secret.name for secret in SECRETS}

    def test_options_have_the_defaults_it_has(self) -> None:
        for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE):
            (option,) = [option for option in OPTIONS if option.name == name]
            assert option.default == default, name

    def test_every_option_does_something(self) -> None:
        for option in OPTIONS:
            assert f"${{{option.name}:-" in COMPOSE, option.name

    def test_logins_are_those_that_people_are_told(self) -> None:
        users = yaml.safe_load(COMPOSE)["x-airflow-environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]
        assert users == "admin:admin,viewer:viewer"
