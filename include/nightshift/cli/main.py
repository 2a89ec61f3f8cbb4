"""``nightshift``: the entry point. Commands are imported when they are called, so that help is instant."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import click

from nightshift.errors import NightshiftError


class Entry(NamedTuple):
    """Where a command lives, and its line in the overview."""

    module: str
    attribute: str
    line: str


GROUPS: dict[str, dict[str, Entry]] = {
    "Set-up": {
        "init": Entry("setup", "init", "Prepare this checkout: folders, Java, MLflow, Airflow, env.sh."),
        "doctor": Entry("doctor", "doctor", "Check this machine and say how to fix what is wrong."),
        "demo": Entry("demo", "demo", "Retrain the demo model for three nights under Airflow."),
        "prepare": Entry("prepare", "prepare", "Prepare the docker-compose stack; it does that itself."),
    },
    "Model specs": {
        "validate": Entry("specs", "validate", "Check model specs; every error names file and line."),
        "schema": Entry("specs", "schema", "Print the JSON Schema of a model spec, for editors."),
        "profile": Entry("profile", "profile", "Draft expectations from a model's stored days, for review."),
    },
    "Code": {
        "package": Entry("package", "package", "Build the archives that a cluster runs jobs from."),
    },
    "Models": {
        "run": Entry("run", "run", "Run one night of a model, or one stage of it, without Airflow."),
        "status": Entry("status", "status", "Show every model: champion, age, last verdict."),
        "history": Entry("history", "history", "Show a model's nights with their verdicts, and who moved what."),
        "predict": Entry("predict", "predict", "Score JSON rows with the champion."),
        "explain-prediction": Entry(
            "explain_prediction", "explain_prediction", "Explain what the champion says of one row, column by column."
        ),
        "champion": Entry("champion", "champion", "Show who serves, or who served at a time or for a day of data."),
        "explain": Entry("explain", "explain", "Explain a night: lineage, decision, seconds, how to undo it."),
        "retention": Entry("retention", "retention", "Delete what no manifest, night or champion needs any more."),
    },
    "Roles": {
        "rollback": Entry("rollback", "rollback", "Make an earlier champion serve again, and hold promotion."),
        "hold": Entry("resume", "hold", "Stop automatic promotion."),
        "resume": Entry("resume", "resume", "Let nights promote again after a rollback or hold."),
        "promote": Entry("promote", "promote", "Promote a blessed version by hand, or say what would happen."),
        "retire": Entry("retire", "retire", "Say that a version never serves again; retention may delete it."),
        "waive": Entry("waive", "waive", "Take responsibility for a failed blessing of one night."),
    },
}
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports one only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"nightshift.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {near[0]}?" if near else "See nightshift --help."
            raise click.UsageError(f"There is no command {args[0]!r}. {hint}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.line) for name, entry in group.items()], col_spacing=3)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Where things are is set by NIGHTSHIFT_* variables; nightshift doctor shows what they come to.",
)
@click.version_option(package_name="nightshift-mlops", prog_name="nightshift")
@click.option("--debug", is_flag=True, help="Show log lines, and the traceback of an error.")
@click.pass_context
def nightshift(ctx: click.Context, debug: bool) -> None:
    """Retrain models while people sleep, and ship a new one only when it has proven fit to replace the old one."""
    ctx.obj = debug
    if debug:
        import logging

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0, or the exit code of the error (see ``nightshift.errors``)."""
    try:
        given = None if args is None else list(args)
        # What a command returns is None; what it gives to ctx.exit comes back as a number.
        code = nightshift.main(args=given, prog_name="nightshift", standalone_mode=False)
    except NightshiftError as error:
        if _debugging(args):
            raise
        from nightshift.cli.console import show_error

        show_error(error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing is wrong, and Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


def _debugging(args: Sequence[str] | None) -> bool:
    return "--debug" in (sys.argv[1:] if args is None else args)
