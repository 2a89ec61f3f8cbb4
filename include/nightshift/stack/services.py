"""What docker-compose.yaml declares, and what its containers are doing, read from docker's JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Phase = Literal[
    "absent", "waiting", "starting", "healthy", "running", "done", "unhealthy", "restarting", "exited", "stopped"
]
GOOD: frozenset[Phase] = frozenset({"healthy", "running", "done"})
COMPLETED = "service_completed_successfully"


@dataclass(frozen=True)
class Port:
    """A port on the host, and the address it listens on."""

    address: str
    number: int


@dataclass(frozen=True)
class Container:
    """One container of the stack.

    Attributes:
        service: Its service.
        name: Its own name.
        state: What docker calls it: created, running, restarting, exited, …
        health: healthy, unhealthy, starting; empty without a health check.
        exit_code: Of the last time it ran.
        ports: What it publishes.
        configuration: Digest of what docker-compose.yaml said of it when it was made.
        image: Id of the image that it was made from.
    """

    service: str
    name: str
    state: str
    health: str = ""
    exit_code: int = 0
    ports: tuple[Port, ...] = ()
    configuration: str = ""
    image: str = ""


@dataclass(frozen=True)
class Service:
    """One service of docker-compose.yaml.

    Attributes:
        name: Its name.
        needs: Services that it waits for.
        image: The image's name.
        ports: Ports of the host that it publishes.
        memory: Its limit in bytes; 0 without one.
        once: It does its work and exits, and others wait for that.
        checked: It has a health check.
        built: Its image is built here.
        optional: It belongs to a profile, and is started only when asked for.
    """

    name: str
    needs: tuple[str, ...] = ()
    image: str = ""
    ports: tuple[int, ...] = ()
    memory: int = 0
    once: bool = False
    checked: bool = False
    built: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Layout:
    """A resolved docker-compose.yaml."""

    project: str
    services: Mapping[str, Service] = field(default_factory=dict)

    @property
    def memory(self) -> int:
        """Sum of the limits of what stays up."""
        return sum(service.memory for service in self.services.values() if not (service.once or service.optional))

    def phase(self, service: str, containers: Mapping[str, Container]) -> Phase:
        """What a service is doing."""
        container = containers.get(service)
        if container is None:
            return "absent"
        if container.state == "running":
            if container.health in ("healthy", "unhealthy", "starting"):
                return container.health  # type: ignore[return-value]
            # Right after its start a container has no health yet, even where it will have one.
            return "starting" if self.services[service].once or self.services[service].checked else "running"
        if container.state in ("exited", "dead"):
            return self._ended(service, container)
        return "restarting" if container.state == "restarting" else "waiting"

    def _ended(self, service: str, container: Container) -> Phase:
        if container.exit_code == 0:
            return "done" if self.services[service].once else "stopped"
        return "exited"

    def waits_for(self, service: str, containers: Mapping[str, Container]) -> list[str]:
        """The services that keep this one from starting."""
        return [name for name in self.services[service].needs if self.phase(name, containers) not in GOOD]


def parse_config(text: str) -> Layout:
    """Reads ``docker compose config --format json``."""
    read = json.loads(text)
    services: dict[str, dict[str, Any]] = read.get("services") or {}
    once = {
        needed
        for service in services.values()
        for needed, how in _needs(service).items()
        if how.get("condition") == COMPLETED
    }
    return Layout(
        project=str(read.get("name", "")),
        services={
            name: Service(
                name=name,
                needs=tuple(need for need in _needs(service) if need in services),
                image=str(service.get("image") or ""),
                ports=tuple(int(port["published"]) for port in service.get("ports") or [] if port.get("published")),
                memory=_limit(service),
                once=name in once,
                checked=bool(service.get("healthcheck")) and not service["healthcheck"].get("disable"),
                built="build" in service,
                optional=bool(service.get("profiles")),
            )
            for name, service in services.items()
        },
    )


def _needs(service: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = service.get("depends_on") or {}
    return found


def _limit(service: Mapping[str, Any]) -> int:
    deploy = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    return int(service.get("mem_limit") or deploy.get("memory") or 0)


def parse_ps(text: str) -> dict[str, Container]:
    """Reads ``docker compose ps --all --format json``: one array until 2.20, a line per container since."""
    return {entry["Service"]: _container(entry) for entry in _entries(text)}


def _container(entry: Mapping[str, Any]) -> Container:
    labels = dict(re.findall(r"(com\.docker\.compose\.[\w.-]+)=([^,]*)", entry.get("Labels") or ""))
    return Container(
        service=entry["Service"],
        name=entry.get("Name", ""),
        state=entry.get("State", ""),
        health=entry.get("Health") or "",
        exit_code=_exit_code(entry),
        ports=_ports(entry),
        configuration=labels.get("com.docker.compose.config-hash", ""),
        image=labels.get("com.docker.compose.image", ""),
    )


def _exit_code(entry: Mapping[str, Any]) -> int:
    # Between two tries of a container that keeps dying, ExitCode is 0, and only the text has the real one.
    told = re.match(r"(?:Restarting|Exited|Dead) \((\d+)\)", entry.get("Status") or "")
    return int(told[1]) if told else int(entry.get("ExitCode") or 0)


def _ports(entry: Mapping[str, Any]) -> tuple[Port, ...]:
    published = (
        Port(str(found.get("URL") or "0.0.0.0"), int(found["PublishedPort"]))  # noqa: S104 - what docker means by it
        for found in entry.get("Publishers") or []
        if found.get("PublishedPort")
    )
    return tuple(dict.fromkeys(published))


def parse_stats(text: str) -> dict[str, str]:
    """Reads ``docker stats --no-stream --format '{{json .}}'``: container name to memory used and limit."""
    return {entry["Name"]: re.sub(r"(?<=\d)(?=[A-Za-z])", " ", entry["MemUsage"]) for entry in _entries(text)}


def _entries(text: str) -> list[dict[str, Any]]:
    text = text.strip()
    if text.startswith("["):
        found: list[dict[str, Any]] = json.loads(text)
        return found
    return [json.loads(line) for line in text.splitlines() if line.strip()]
