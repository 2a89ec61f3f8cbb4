"""What the docker program's own answers lead to; a shell script stands for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nightshift.errors import SettingsError, StackError
from nightshift.stack import env_file
from nightshift.stack.__main__ import main
from nightshift.stack.engine import Compose, Engine, docker, engine
from nightshift.stack.ports import holder, taken
from nightshift.stack.readiness import require_env_file, require_memory, require_ports
from nightshift.stack.services import Container, Layout, Port, Service
from nightshift.stack.up import next_command

ROOT = Path(__file__).parents[3]
GIB = 2**30
INFO = '{"ServerVersion":"28.0.1","MemTotal":8589934592}'
HEALTHY = """
case "$*" in
  "compose version --short") echo 2.26.1 ;;
  "info --format {{json .}}") echo '%s' ;;
  *"config --format json") echo '{"name":"nightshift","services":{"web":{"image":"x:1"}}}' ;;
  *"config --hash "*) echo web abc ;;
  "image inspect "*) echo sha256:1 ;;
  *"ps --all --format json") %s ;;
  "volume ls "*) %s ;;
  *" logs "*) echo "the password is $(sed -n 's/^POSTGRES_PASSWORD=//p' .env)" ;;
  *" up "*) %s ;;
  *" down "*) echo gone ;;
esac
"""
LABELS = "com.docker.compose.config-hash=abc,com.docker.compose.image=sha256:1"
Put = Callable[[str], Path]
Err = pytest.CaptureFixture[str]


def web(state: str, code: int = 0) -> str:
    entry = f'{{"Service":"web","Name":"n-web-1","State":"{state}","ExitCode":{code},"Labels":"{LABELS}"}}'
    return f"echo '{entry}'"


def healthy(*, ps: str = "true", volumes: str = "true", up: str = "true") -> str:
    return HEALTHY % (INFO, ps, volumes, up)


class TestEngine:
    def test_one_that_answers(self, docker: Put) -> None:
        docker(healthy())
        assert engine() == Engine("28.0.1", "2.26.1", 8 * GIB)

    def test_docker_is_not_there(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(SettingsError, match="docker is not installed") as caught:
            engine()
        assert "install" in str(caught.value.hint)

    @pytest.mark.parametrize("version", ["1.29.2", "v2.19.9", "2.3"])
    def test_a_compose_that_is_too_old(self, docker: Put, version: str) -> None:
        docker(f"echo {version}")
        with pytest.raises(SettingsError, match=r"2\.20 or newer is needed"):
            engine()

    def test_no_compose_plugin(self, docker: Put) -> None:
        docker("echo \"docker: 'compose' is not a docker command.\" >&2; exit 1")
        with pytest.raises(SettingsError, match="no compose plugin"):
            engine()

    @pytest.mark.parametrize(
        ("said", "message", "hint"),
        [
            ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "does not answer", "systemctl"),
            ("permission denied while trying to connect", "may not talk", "usermod"),
        ],
    )
    def test_an_engine_that_does_not_answer(self, docker: Put, said: str, message: str, hint: str) -> None:
        docker(f'case "$1" in compose) echo 2.26.1 ;; *) echo "{said}" >&2; exit 1 ;; esac')
        with pytest.raises(SettingsError, match=message) as caught:
            engine()
        assert hint in str(caught.value.hint)

    def test_docker_info_succeeds_and_has_no_server(self, docker: Put) -> None:
        docker('case "$1" in compose) echo 2.26.1 ;; *) echo \'{"ServerErrors":["Cannot connect"]}\' ;; esac')
        with pytest.raises(SettingsError, match="does not answer"):
            engine()

    def test_a_failure_tells_what_docker_said(self, docker: Put) -> None:
        docker("echo no such thing >&2; exit 7")
        with pytest.raises(StackError, match="docker volume ls ended with exit code 7: no such thing"):
            globals_docker("volume", "ls")


def globals_docker(*arguments: str) -> str:
    """The function that the fixture's name hides."""
    return docker(*arguments)


class TestCompose:
    def test_a_stack_without_its_env_file_can_be_looked_at(self, project: Path, docker: Put) -> None:
        docker('test "$POSTGRES_PASSWORD" = missing && test "$SPARK_AUTH_SECRET" = missing')
        assert not Compose.at(project).containers()

    def test_what_is_in_the_env_file_is_left_to_compose(self, project: Path, docker: Put) -> None:
        env_file.ensure(project)
        docker('test -z "$POSTGRES_PASSWORD"')
        assert not Compose.at(project).containers()

    def test_from_a_folder_below(self, project: Path) -> None:
        (project / "dags").mkdir()
        assert Compose.at(project / "dags").root == project

    def test_outside_of_a_checkout(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"no docker-compose\.yaml"):
            Compose.at(tmp_path)

    def test_log_tails_have_no_secrets_and_no_escapes(self, project: Path, docker: Put) -> None:
        env_file.ensure(project)
        password = env_file.read(project / ".env")["POSTGRES_PASSWORD"]
        docker(f"printf '\\033[2Kuri=postgres://airflow:{password}@postgres\\n'")
        assert Compose.at(project).log_tail("x") == ["uri=postgres://airflow:<POSTGRES_PASSWORD>@postgres"]


class TestReadiness:
    def test_memory(self) -> None:
        layout = Layout("x", {"a": Service("a", memory=8 * GIB), "b": Service("b", memory=GIB, once=True)})
        assert require_memory(Engine("", "", 16 * GIB), layout) == ""
        assert require_memory(Engine("", "", int(7.6 * GIB)), layout) == "", "a machine of 8 GB"
        assert "6.0 GiB, the services may use 8.0 GiB" in require_memory(Engine("", "", 6 * GIB), layout)
        with pytest.raises(SettingsError, match=r"3\.0 GiB of memory; the stack needs 8 GiB"):
            require_memory(Engine("", "", 3 * GIB), layout)

    def test_a_port_that_is_taken_and_by_whom(self, docker: Put) -> None:
        docker("true")
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
            layout = Layout("x", {"mlflow": Service("mlflow", ports=(port,))})
            with pytest.raises(SettingsError) as caught:
                require_ports(layout, {}, {"MLFLOW_PORT": str(port)})
        assert f"{port} for mlflow is held by " in caught.value.message
        assert f"(process {os.getpid()})" in caught.value.message
        assert "MLFLOW_PORT=…" in str(caught.value.hint)

    def test_a_port_that_another_container_has(self, docker: Put) -> None:
        docker("echo somebody-elses-1")
        assert holder(1) == "container somebody-elses-1"

    def test_a_port_that_is_ours_may_be_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
            ours = {"a": Container("a", "", "running", ports=(Port("127.0.0.1", port),))}
            require_ports(Layout("x", {"a": Service("a", ports=(port,))}), ours, {})
            assert taken(port)
        assert not taken(port)

    def test_an_env_file_is_not_made_anew_for_volumes_that_have_other_secrets(self, project: Path, docker: Put) -> None:
        docker(healthy(volumes="echo nightshift_postgres"))
        with pytest.raises(SettingsError, match="nightshift_postgres") as caught:
            require_env_file(Compose.at(project), "nightshift")
        assert "make down VOLUMES=1" in str(caught.value.hint)
        assert not (project / ".env").exists()


class TestCommands:
    def test_env(self, project: Path, capsys: Err) -> None:
        assert main(["env"]) == 0
        assert "Wrote" in capsys.readouterr().out
        assert main(["env"]) == 0
        assert "is there" in capsys.readouterr().out

    def test_up_of_a_stack_that_is_up_changes_nothing(self, project: Path, docker: Put, capsys: Err) -> None:
        calls = docker(healthy(ps=web("running")))
        assert main(["up"]) == 0
        out = capsys.readouterr().out
        assert "All 1 services are up already." in out
        assert "Next:  make trigger MODEL=flight_delays NIGHT=2013-07-15 WAIT=1" in out
        assert " up " not in calls.read_text()
        assert not [value for value in env_file.read(project / ".env").values() if value in out]

    def test_up(self, project: Path, docker: Put, capsys: Err) -> None:
        calls = docker(healthy(ps=f"test -f started && {web('running')} || true", up="touch started"))
        assert main(["up"]) == 0
        assert "All 1 services are up  " in capsys.readouterr().out
        assert "compose up --detach --no-build --remove-orphans" in calls.read_text()

    def test_up_names_what_fails_with_its_log(self, project: Path, docker: Put, capsys: Err) -> None:
        up = "echo 'dependency failed to start: container n-web-1 exited (3)'; exit 1"
        docker(healthy(ps=web("exited", 3), up=up))
        assert main(["up"]) == 69
        err = capsys.readouterr().err
        assert "web is exited, exit code 3; its last lines:" in err
        assert "  | the password is <POSTGRES_PASSWORD>" in err
        assert "make logs SERVICE=web" in err

    def test_up_tells_what_compose_said_where_no_service_is_to_blame(
        self, project: Path, docker: Put, capsys: Err
    ) -> None:
        docker(healthy(up="echo 'Error: no space left on device'; exit 1"))
        assert main(["up"]) == 69
        err = capsys.readouterr().err
        assert "  | Error: no space left on device" in err
        assert "docker system df" in err

    def test_up_ends_when_time_is_up(self, project: Path, docker: Put, capsys: Err) -> None:
        docker(healthy(ps=web("created")))
        assert main(["up", "--timeout", "0"]) == 69
        assert "not everything is up after 0 s" in capsys.readouterr().err

    def test_without_docker(self, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Err) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        for command in (["up"], ["down"], ["ps"], ["logs"], ["open"]):
            assert main(command) == 78
            assert "docker is not installed" in capsys.readouterr().err
        assert not (project / ".env").exists()

    def test_down_says_what_stays(self, project: Path, docker: Put, capsys: Err) -> None:
        calls = docker(healthy(ps=web("running"), volumes="echo nightshift_minio"))
        assert main(["down"]) == 0
        out = capsys.readouterr().out
        assert "The data stays, in the volumes nightshift_minio." in out
        assert "make down VOLUMES=1" in out
        assert "compose --profile * down --remove-orphans\n" in calls.read_text()

    def test_down_with_volumes(self, project: Path, docker: Put, capsys: Err) -> None:
        calls = docker(healthy(volumes=f"grep -q down {project}/calls || echo nightshift_minio"))
        assert main(["down", "--volumes"]) == 0
        assert "Deleted the volumes nightshift_minio." in capsys.readouterr().out
        assert "down --remove-orphans --volumes" in calls.read_text()

    def test_ps_of_nothing(self, project: Path, docker: Put, capsys: Err) -> None:
        docker(healthy())
        assert main(["ps"]) == 0
        assert capsys.readouterr().out == "Nothing is there. Start it with make up.\n"

    def test_logs_of_no_service(self, project: Path, docker: Put, capsys: Err) -> None:
        docker(healthy())
        assert main(["logs", "wep"]) == 78
        assert "did you mean web?" in capsys.readouterr().err

    def test_doctor_without_docker(self, project: Path, docker: Put, capsys: Err) -> None:
        docker("exit 1")
        assert main(["doctor"]) == 1
        out = capsys.readouterr().out
        assert "✗ Docker" in out
        assert "1 broken." in out


def test_the_next_command_is_one_that_works(tmp_path: Path) -> None:
    assert next_command(ROOT) == "make trigger MODEL=flight_delays NIGHT=2013-07-15 WAIT=1"
    (tmp_path / "dags" / "models").mkdir(parents=True)
    (tmp_path / "dags" / "models" / "churn.yaml").touch()
    assert next_command(tmp_path) == "make trigger MODEL=churn WAIT=1"


def test_it_runs_on_a_python_that_has_nothing_installed(tmp_path: Path) -> None:
    code = "import sys, nightshift.stack.__main__; print(*sorted(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'include')!r}); {code}"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    loaded = {name.split(".")[0] for name in found.stdout.split()}
    assert loaded - {"nightshift", "__main__"} <= sys.stdlib_module_names | {"__mp_main__", "sitecustomize"}
