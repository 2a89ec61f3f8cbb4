"""The ``docker`` program: is it there, does its engine answer, and what does it say about our containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nightshift.errors import SettingsError, StackError
from nightshift.stack import env_file
from nightshift.stack.services import Container, Layout, parse_config, parse_ps, parse_stats
from nightshift.stack.variables import SECRETS

COMPOSE_FILE = "docker-compose.yaml"
OLDEST_COMPOSE = (2, 20)
PATIENCE = 60  # seconds for a question; an engine that hangs must not hang us
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LABEL = "com.docker.compose.project"


@dataclass(frozen=True)
class Engine:
    """An engine that answers.

    Attributes:
        version: Of the engine.
        compose: Of the compose plugin.
        memory: What it can give to containers, in bytes.
    """

    version: str
    compose: str
    memory: int


def docker(*arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a docker command says.

    Raises:
        SettingsError: docker is not installed.
        StackError: It failed or took too long; the message ends with what it said.
    """
    try:
        done = subprocess.run(
            [program(), *arguments],
            check=False,
            cwd=cwd,
            env=None if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(
            f"docker {' '.join(arguments[:2])} has not answered in {PATIENCE} s.", hint="restart the Docker engine"
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise StackError(f"docker {_shown(arguments)} ended with exit code {done.returncode}: {said}")
    return done.stdout


def program() -> str:
    """Path of docker.

    Raises:
        SettingsError: It is not installed.
    """
    found = shutil.which("docker")
    if found is None:
        raise SettingsError(
            "docker is not installed, or not on PATH.",
            hint="install Docker Desktop, or Docker Engine with its compose plugin: https://docs.docker.com/engine/install",
        )
    return found


def engine() -> Engine:
    """The engine.

    Raises:
        SettingsError: It does not answer, or compose is missing or too old; the hint says what to do.
    """
    program()
    compose = _compose_version()
    try:
        info = json.loads(docker("info", "--format", "{{json .}}"))
    except (StackError, ValueError) as error:
        raise _no_engine(str(error)) from error
    if not info.get("ServerVersion"):
        raise _no_engine("; ".join(info.get("ServerErrors") or ["it gave no version"]))
    return Engine(str(info["ServerVersion"]), compose, int(info.get("MemTotal") or 0))


def _compose_version() -> str:
    install = "install or update the compose plugin: https://docs.docker.com/compose/install"
    needed = ".".join(map(str, OLDEST_COMPOSE))
    try:
        said = docker("compose", "version", "--short").strip()
    except StackError as error:
        raise SettingsError(f"docker has no compose plugin; {needed} or newer is needed.", hint=install) from error
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or tuple(map(int, found.groups())) < OLDEST_COMPOSE:
        raise SettingsError(f"docker compose is {said}; {needed} or newer is needed.", hint=install)
    return said.removeprefix("v")


def _no_engine(said: str) -> SettingsError:
    if "permission denied" in said:
        hint = "let your user use it: sudo usermod -aG docker $USER, then log in again"
        return SettingsError("this user may not talk to the Docker engine.", hint=hint)
    where = os.environ.get("DOCKER_HOST")
    hint = "start it: open Docker Desktop, or sudo systemctl start docker"
    if where:
        hint = f"DOCKER_HOST is {where}: is that right, and is it running?"
    return SettingsError("the Docker engine does not answer.", hint=hint)


@dataclass(frozen=True)
class Compose:
    """The stack of one checkout.

    Attributes:
        root: The folder of docker-compose.yaml.
        environ: The environment that compose reads besides ``.env``.
        history: Whether Spark's history server belongs to what is started.
    """

    root: Path
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    history: bool = False

    @classmethod
    def at(cls, folder: Path, *, history: bool = False) -> Compose:
        """The stack at or above a folder.

        Raises:
            SettingsError: There is none.
        """
        for root in (folder, *folder.parents):
            if (root / COMPOSE_FILE).is_file():
                return cls(root, history=history)
        raise SettingsError(f"there is no {COMPOSE_FILE} in {folder} or above.", hint="run this inside a checkout")

    @property
    def env_file(self) -> Path:
        return self.root / env_file.NAME

    @property
    def values(self) -> dict[str, str]:
        """The variables as docker-compose.yaml sees them."""
        return env_file.values(self.root, self.environ)

    def command(self, *arguments: str, everything: bool = False) -> list[str]:
        """A docker compose command; ``everything`` includes the services of every profile."""
        profiles = ["--profile", "*"] if everything else ["--profile", "history"] if self.history else []
        return ["compose", *profiles, *arguments]

    def run(self, *arguments: str, everything: bool = False) -> str:
        """What a docker compose command says.

        Raises:
            StackError: It failed; the message ends with what it said.
        """
        return docker(*self.command(*arguments, everything=everything), environ=self.variables(), cwd=self.root)

    def start(self, *arguments: str, everything: bool = False) -> subprocess.Popen[str]:
        """A docker compose command that runs beside us; its output is one stream."""
        return subprocess.Popen(
            [program(), *self.command(*arguments, everything=everything)],
            cwd=self.root,
            env={**self.variables(), "BUILDKIT_PROGRESS": "plain", "COMPOSE_PROGRESS": "plain"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )

    def variables(self) -> dict[str, str]:
        """The environment of docker compose.

        To stop a stack, or to look at it, its secrets are not needed, and ``.env`` may be gone: compose refuses to
        read its own file without them, so what is missing gets a value that says so.
        """
        there = self.values
        return {**{secret.name: "missing" for secret in SECRETS if secret.name not in there}, **self.environ}

    def layout(self, *, everything: bool = False) -> Layout:
        """What docker-compose.yaml declares.

        Raises:
            StackError: It cannot be used.
        """
        return parse_config(self.run("config", "--format", "json", everything=everything))

    def containers(self) -> dict[str, Container]:
        """What is there, by service; one-shot services and other profiles' too."""
        return parse_ps(self.run("ps", "--all", "--format", "json", everything=True))

    def is_current(self, layout: Layout, containers: Mapping[str, Container]) -> bool:
        """Whether every container is what docker-compose.yaml, ``.env`` and the images of today would make."""
        hashes = dict(line.split() for line in self.run("config", "--hash", "*").splitlines())
        names = sorted({service.image for service in layout.services.values()})
        try:
            ids = dict(zip(names, docker("image", "inspect", "--format", "{{.Id}}", *names).split(), strict=True))
        except (StackError, ValueError):
            return False  # an image is not there, or not yet
        return all(
            (there := containers.get(name)) is not None
            and (there.configuration, there.image) == (hashes.get(name), ids[service.image])
            for name, service in layout.services.items()
        )

    def memory(self) -> dict[str, str]:
        """Memory used and limit of running containers, by container name."""
        names = [found.name for found in self.containers().values() if found.state == "running"]
        return parse_stats(docker("stats", "--no-stream", "--format", "{{json .}}", *names)) if names else {}

    def volumes(self, project: str) -> list[str]:
        """Named volumes of the stack."""
        return sorted(docker("volume", "ls", "--quiet", "--filter", f"label={LABEL}={project}").split())

    def log_tail(self, service: str, lines: int = 25) -> list[str]:
        """The last lines that a service wrote, without anything that is secret."""
        try:
            text = self.run("logs", "--no-color", "--no-log-prefix", "--tail", str(lines), service, everything=True)
        except StackError as error:
            return [error.message]
        return self.without_secrets(ANSI.sub("", text)).splitlines()[-lines:]

    def without_secrets(self, text: str) -> str:
        """The text with every value of ``.env``'s secrets blotted out."""
        there = self.values
        for secret in SECRETS:
            value = there.get(secret.name, "")
            if len(value) >= 8:
                text = text.replace(value, f"<{secret.name}>")
        return text


def _shown(arguments: tuple[str, ...]) -> str:
    return " ".join(arguments if len(arguments) < 8 else [*arguments[:7], "…"])
