"""What must be right before anything is started: a free port, enough memory, an ``.env`` that fits the data."""

from __future__ import annotations

from collections.abc import Mapping

from nightshift.errors import SettingsError
from nightshift.stack import env_file
from nightshift.stack.engine import Compose, Engine
from nightshift.stack.ports import holder, taken
from nightshift.stack.services import Container, Layout
from nightshift.stack.terminal import size_of
from nightshift.stack.variables import PORTS

LEAST_MEMORY = 4 * 2**30
# An "8 GB" machine has a little less for containers, and not everything is at its limit at once.
ENOUGH = 0.85


def require_memory(engine: Engine, layout: Layout) -> str:
    """A warning where the engine has less than the limits add up to; empty where it is enough.

    Raises:
        SettingsError: It is far from enough.
    """
    more = "give Docker 8 GiB: Docker Desktop, Settings, Resources"
    if engine.memory < LEAST_MEMORY:
        has = size_of(engine.memory)
        raise SettingsError(f"the Docker engine has {has} of memory; the stack needs 8 GiB.", hint=more)
    if engine.memory < layout.memory * ENOUGH:
        has, limits = size_of(engine.memory), size_of(layout.memory)
        return f"The Docker engine has {has}, the services may use {limits}: a night may be killed. Better {more}."
    return ""


def require_ports(layout: Layout, containers: Mapping[str, Container], values: Mapping[str, str]) -> None:
    """Every port must be free, or ours.

    Raises:
        SettingsError: Some are taken; says by whom, and how to take others.
    """
    ours = {port.number for found in containers.values() if found.state == "running" for port in found.ports}
    wanted = [(port, name) for name, service in layout.services.items() for port in service.ports]
    lines, names = [], []
    for port, service in sorted(wanted):
        if port not in ours and taken(port):
            lines.append(f"  {port} for {service} is held by {holder(port)}")
            names += [option.name for option in PORTS if values.get(option.name) == str(port)]
    if lines:
        hint = "stop what holds them"
        if names:
            hint += f", or choose others in {env_file.NAME}: " + ", ".join(f"{name}=…" for name in dict.fromkeys(names))
        count = "ports are" if len(lines) > 1 else "port is"
        raise SettingsError("\n".join([f"{len(lines)} {count} taken:", *lines]), hint=hint)


def require_env_file(compose: Compose, project: str) -> env_file.Written:
    """Write ``.env`` if there is none, complete it if it is older than the stack.

    Raises:
        SettingsError: There is none, but volumes of an earlier stack, which only the old secrets open.
    """
    if not compose.env_file.exists():
        volumes = compose.volumes(project)
        if volumes:
            raise SettingsError(
                f"there is no {env_file.NAME}, but there are volumes made with the secrets of an earlier one: "
                f"{', '.join(volumes)}.",
                hint="put the old .env back; or delete the volumes and all that is in them: make down VOLUMES=1",
            )
    return env_file.ensure(compose.root)
