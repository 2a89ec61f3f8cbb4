"""What the commands share that move a champion: who does it, which version, and MLflow's aliases afterwards."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from rich.markup import escape

from nightshift.cli.console import err
from nightshift.errors import StorageError
from nightshift.ledger import Ledger
from nightshift.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

# Somebody waits: MLflow gets one try. The aliases follow with housekeeping where it is away.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}


class VersionNumber(click.ParamType[int]):
    """``3`` or ``v3``."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).removeprefix("v")
        if not text.isdecimal() or int(text) < 1:
            self.fail(f"{value!r} is no version; write for example 3 or v3", param, ctx)
        return int(text)


def user() -> str:
    """Who runs this command, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def signed(why: str, *, usually: str | None = None) -> Callable[[Command], Command]:
    """Give a command the options ``--reason`` and ``--by``; what stands in the ledger for ever says something.

    Args:
        why: Help for the reason.
        usually: The reason of who gives none; without it a reason is required.
    """
    wanted: dict[str, Any] = {"required": True} if usually is None else {"default": usually, "show_default": True}

    def sign(command: Command) -> Command:
        by = click.option("--by", default=user, show_default="you", help="Who does it, for the ledger.", callback=_said)
        reason = click.option("--reason", help=why, callback=_said, **wanted)
        return reason(by(command))

    return sign


def _said(ctx: click.Context, param: click.Parameter, value: str) -> str:
    text = value.strip()
    if not text:
        raise click.BadParameter("it is empty; the ledger keeps who did what, and why", ctx=ctx, param=param)
    return text


def load_mlflow_meanwhile() -> None:
    """Import MLflow, which takes seconds, while something else is waited for."""
    os.environ.update(IMPATIENT)
    from nightshift.registry.mlflow_registry import load_mlflow

    load_mlflow()


def mirror(settings: Settings, model: str, ledger: Ledger) -> dict[str, Any]:
    """Make MLflow's aliases say what the ledger says; MLflow being away is said, and no error.

    Returns:
        ``aliases``, ``by_hand``, ``retired`` and ``missing`` as they came out, or ``error``.

    Raises:
        IntegrityError: The ledger is damaged.
    """
    load_mlflow_meanwhile()
    from nightshift.deploy.roles import apply_roles
    from nightshift.registry import registered_name
    from nightshift.registry.aliases import Aliases
    from nightshift.registry.mlflow_registry import shown

    try:
        keeper = Aliases(settings.mlflow_uri, registered_name(env=settings.env, model=model))
        found = apply_roles(ledger, keeper)
    except StorageError as error:
        if not error.retryable:
            raise
        err().print(
            f"[yellow]MLflow's aliases are not moved yet:[/] {escape(error.message)}\n"
            "The ledger is what counts; the aliases follow with the next night or housekeeping.",
            soft_wrap=True,
        )
        return {"error": error.message}
    for alias in found.by_hand:
        where = "removed" if found.before[alias] is None else f"moved to v{found.before[alias]}"
        err().print(f"[yellow]The alias {alias} had been {where} by hand;[/] the ledger's word holds again.")
    if found.missing:
        listed = ", ".join(f"v{version} (alias {alias})" for alias, version in found.missing.items())
        err().print(
            f"[yellow]MLflow at {escape(shown(settings.mlflow_uri))} has no {escape(listed)},[/] so that is left as it "
            "is there.\nIf it is not the MLflow of this model, see NIGHTSHIFT_MLFLOW_URI. The ledger is what counts.",
            soft_wrap=True,
        )
    told = {"aliases": found.aliases, "by_hand": found.by_hand, "retired": found.retired, "missing": found.missing}
    return {name: dict(value) if isinstance(value, Mapping) else list(value) for name, value in told.items()}
