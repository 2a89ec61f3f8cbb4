"""``nightshift run``: one night, or one stage of it, as the same jobs that Airflow starts, without Airflow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.markup import escape

from nightshift.cli.console import err, out, print_json
from nightshift.cli.environment import airflow_environment, java_home_in_use, shown
from nightshift.cli.models import load
from nightshift.errors import NightshiftError
from nightshift.plan import STAGES, Interval, resolve_interval, stages_of
from nightshift.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from nightshift.cli.progress import Board
    from nightshift.jobs.planning import PublishedPlan
    from nightshift.plan import Plan
    from nightshift.stage import StageResult
    from nightshift.storage import Ref, Store

LAST_LINES = 15


@click.command()
@click.argument("model")
@click.option("--night", required=True, metavar="YYYY-MM-DD", help="The night; its data is the day before.")
@click.option("--stage", type=click.Choice(STAGES), help="Only this stage, on top of what earlier ones published.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON; progress goes to standard error.")
def run(model: str, night: str, stage: str | None, as_json: bool) -> None:
    """Run one night of MODEL without Airflow.

    Every stage is a process of its own, as it is under Airflow, and finished work is not repeated. The exit
    code tells what went wrong: 64 spec, 65 data, 66 model, 74 storage, 75 job, 20 nothing to do.
    """
    settings = Settings.from_environment()
    spec = load(settings, model)
    interval = resolve_interval(now=datetime.now(UTC), night=night, until=spec.source.until)

    from nightshift.jobs.planning import make_plan, publish
    from nightshift.report.render import report_path
    from nightshift.storage import Store

    now = datetime.now(UTC)
    plan = make_plan(spec, interval, settings, run_id=f"cli__{now:%Y-%m-%dT%H:%M:%SZ}", trigger="cli")
    store = Store.of(plan)
    upstream = _published_before(store, interval, stage, model) if stage else {}
    stages = (stage,) if stage else stages_of(spec)
    if settings.compute_of(spec.compute.target) == "emr":
        # Nobody would be left to end a cluster if this process were killed.
        err().print(
            "Nights on EMR are Airflow's: this one runs on this machine. The results are the same.", soft_wrap=True
        )
    with job_environment(settings):
        results, seconds = _run_stages(plan, publish(plan), stages, dict(upstream), settings)
    page = report_path(settings, model, interval.night.isoformat())
    _tell(plan, results, seconds, page=page if page.is_file() else None, as_json=as_json)


@contextmanager
def job_environment(settings: Settings) -> Iterator[None]:
    """Give jobs started inside what ``env.sh`` would, where it has not been sourced."""
    wanted = airflow_environment(settings, java_home=java_home_in_use(settings))
    missing = {
        name: value for name, value in wanted.items() if not name.startswith("AIRFLOW") and name not in os.environ
    }
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def _published_before(store: Store, interval: Interval, stage: str, model: str) -> dict[str, Ref]:
    """The newest versions that the stages before this one published for the night.

    Raises:
        NightshiftError: One of them has published nothing yet.
    """
    from nightshift.report.nights import lineage

    found = lineage(store, interval.key)
    before = STAGES[: STAGES.index(stage)]
    missing = [name for name in before if name not in found]
    if missing:
        raise NightshiftError(
            f"stage {stage} of night {interval.night} needs {', '.join(missing)}, which published nothing yet.",
            hint=f"run the whole night: nightshift run {model} --night {interval.night}",
        )
    return {name: found[name].ref for name in before}


def _run_stages(
    plan: Plan, published: PublishedPlan, stages: tuple[str, ...], upstream: dict[str, Ref], settings: Settings
) -> tuple[list[StageResult], dict[str, float]]:
    """Run the stages one after another; each is shown as it goes, and everything they say is in a file."""
    from nightshift.cli.progress import Board
    from nightshift.jobs.placement import goes_to_cluster
    from nightshift.jobs.process import Job

    path = settings.home / "logs" / plan.model / f"{plan.interval.night}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    results: list[StageResult] = []
    seconds: dict[str, float] = {}
    with ExitStack() as stack:
        log = stack.enter_context(path.open("w", buffering=1))
        board = stack.enter_context(Board(err(), stages, f"{plan.model}, night {plan.interval.night}"))
        for stage in stages:
            began = time.monotonic()
            board.start(stage)
            try:
                job = Job(stage, published, dict(upstream))
                on_cluster = goes_to_cluster(stage, plan.spec, settings)
                result = _run_one(job, settings.python, board, log, on_cluster=on_cluster)
            except NightshiftError as error:
                board.fail(stage, error.message.splitlines()[0])
                stack.callback(_show_log, board, path)
                raise
            seconds[stage] = round(time.monotonic() - began, 1)
            board.finish(result, seconds[stage])
            results.append(result)
            if result.ref is not None:
                upstream[stage] = result.ref
            if result.status == "skipped":
                break  # of ingest: nothing has changed, and the stages after it would do again what was done
    return results, seconds


def _run_one(job: Any, python: str, board: Board, log: TextIO, *, on_cluster: bool) -> StageResult:
    from nightshift.cli.progress import JobLine
    from nightshift.jobs.process import run_job

    def take(line: str) -> None:
        log.write(line + "\n")
        board.log.append(line)
        if (said := JobLine.parse(line)) is not None:
            board.say(job.stage, said.message)

    return run_job(job, python=python, on_line=take, on_cluster=on_cluster)


def _show_log(board: Board, path: Path) -> None:
    console = err()
    console.print(f"\n[dim]The last lines of {escape(shown(path))}:[/]")
    for line in list(board.log)[-LAST_LINES:]:
        console.print(f"[dim]  {escape(line)}[/]", soft_wrap=True)


def _tell(
    plan: Plan, results: list[StageResult], seconds: Mapping[str, float], *, page: Path | None, as_json: bool
) -> None:
    if as_json:
        stages = [{**result.to_dict(), "seconds": seconds[result.stage]} for result in results]
        report = str(page) if page else None
        print_json({"model": plan.model, "night": str(plan.interval.night), "stages": stages, "report": report})
        return
    console = out()
    reused = [result.stage for result in results if result.reused]
    if len(reused) == len(results):
        console.print("Everything had been done before; nothing was repeated.")
    elif reused:
        console.print(f"Already done before, and not repeated: {', '.join(reused)}.", soft_wrap=True)
    last = results[-1]
    if last.reason:
        console.print(escape(last.reason), soft_wrap=True)
    elif (version := waiting(plan, last)) is not None:
        console.print(
            f"v{version} is fit to ship and waits for a person. To approve it: "
            f"nightshift promote {escape(plan.model)} --version {version}",
            soft_wrap=True,
        )
    console.print(f"{sum(seconds.values()):.0f} s in all.")
    if page is not None:
        console.print(f"Report: {escape(shown(page))}", soft_wrap=True)


def waiting(plan: Plan, last: StageResult) -> int | None:
    """The version that a person is to approve, where a night ends with one."""
    if last.stage != "register" or stages_of(plan.spec)[-1] != "register" or last.summary["standing"] != "accepted":
        return None
    version: int = last.summary["model_version"]
    return version
