"""``python -m nightshift.stack``: what ``make env | up | down | ps | logs | trigger | …`` run."""

from __future__ import annotations

import sys

# Said before anything is imported that an older Python cannot even read.
if sys.version_info < (3, 11):  # noqa: UP036 - the Python of a machine that only has Docker may be any
    sys.exit(f"The stack needs Python 3.11 or newer, not {sys.version.split()[0]}. Try: make up PYTHON=python3.12")

import argparse
from collections.abc import Sequence
from pathlib import Path

from nightshift.errors import NightshiftError
from nightshift.stack import env_file, look
from nightshift.stack.airflow_api import Airflow
from nightshift.stack.down import down
from nightshift.stack.engine import Compose
from nightshift.stack.places import airflow as airflow_url
from nightshift.stack.terminal import Terminal
from nightshift.stack.trigger import trigger
from nightshift.stack.up import up

MINUTE = 60


def main(given: Sequence[str] | None = None) -> int:
    """Run a command; gives 0, the exit code of the error (``nightshift.errors``), or 130 after Ctrl-C."""
    arguments = _parser().parse_args(given)
    terminal = Terminal()
    try:
        return _run(arguments, terminal)
    except NightshiftError as error:
        Terminal(sys.stderr).fail(error)
        return error.exit_code
    except KeyboardInterrupt:
        terminal.say("\nInterrupted. What has started goes on: make ps shows it, make down stops it.")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) has gone; Python would complain about it at exit
        return 0


def _run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    compose = Compose.at(Path.cwd(), history=getattr(arguments, "history", False))
    command: str = arguments.command
    if command == "env":
        terminal.say(str(env_file.ensure(compose.root)))
    elif command == "up":
        up(compose, terminal, timeout=arguments.timeout * MINUTE)
    elif command == "down":
        down(compose, terminal, volumes=arguments.volumes)
    elif command == "ps":
        look.ps(compose, terminal)
    elif command == "doctor":
        return 0 if look.doctor(compose, terminal) else 1
    elif command == "logs":
        return look.logs(compose, arguments.service, lines=arguments.lines, follow=arguments.follow)
    elif command == "open":
        look.show(compose, terminal)
    elif command == "trigger":
        return _trigger(arguments, compose, terminal)
    return 0


def _trigger(arguments: argparse.Namespace, compose: Compose, terminal: Terminal) -> int:
    values = compose.values
    airflow = Airflow(airflow_url(values), "admin", values.get("AIRFLOW_ADMIN_PASSWORD", ""))
    succeeded = trigger(
        airflow,
        terminal,
        arguments.model,
        night=arguments.night,
        wait=arguments.wait,
        timeout=arguments.timeout * MINUTE,
    )
    return 0 if succeeded else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nightshift.stack", description="The docker-compose stack.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("env", help="write .env with random secrets, once")
    start = commands.add_parser("up", help="start everything and wait until it is healthy")
    start.add_argument("--timeout", type=float, default=10, metavar="MIN", help="minutes for the services (default 10)")
    start.add_argument("--history", action="store_true", help="with Spark's history server")
    stop = commands.add_parser("down", help="stop everything; the data stays")
    stop.add_argument("--volumes", action="store_true", help="delete the data too")
    commands.add_parser("ps", help="what is up, and what it uses")
    commands.add_parser("doctor", help="whether everything is right, and what to do where it is not")
    read = commands.add_parser("logs", help="the last lines of the services")
    read.add_argument("service", nargs="?", help="of one service only")
    read.add_argument("--lines", type=int, default=200, metavar="N", help="so many of each (default 200)")
    read.add_argument("--follow", action="store_true", help="and what comes, until Ctrl-C")
    commands.add_parser("open", help="print the pages' addresses; open them where there is a display")
    run = commands.add_parser("trigger", help="start a night of a model")
    run.add_argument("model")
    run.add_argument("--night", metavar="YYYY-MM-DD", help="which; without it, the last complete day")
    run.add_argument("--wait", action="store_true", help="follow it to its end; exit code 1 if it fails")
    run.add_argument("--timeout", type=float, default=120, metavar="MIN", help="minutes to follow it (default 120)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
