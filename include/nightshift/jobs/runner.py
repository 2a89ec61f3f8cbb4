"""What happens inside a job's process: load the plan, run the stage, report, leave a result behind."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nightshift.errors import JobError, NightshiftError, NightSkipped
from nightshift.jobs.distant import is_distant, leave_distant, lines_beside
from nightshift.jobs.planning import PublishedPlan
from nightshift.plan import STAGES, Plan, package_version, stages_of
from nightshift.spec.engine_packages import require_engine
from nightshift.spec.engines import is_own
from nightshift.stage import StageIO, StageResult
from nightshift.stamps import require_interpreter, require_versions
from nightshift.storage import Ref, Store

log = logging.getLogger(__name__)

StageRun = Callable[[Plan, StageIO], StageResult]

BEFORE_EVALUATE = STAGES[: STAGES.index("evaluate")]
UNEXPECTED = 1  # exit status of an error that is not one of ours

# Libraries that would phone home or open windows, told not to.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "Agg",
    "PYSPARK_PYTHON": sys.executable,
}


def _ingest() -> StageRun:
    from nightshift.ingest import run

    return run


def _validate() -> StageRun:
    from nightshift.validate import run

    return run


def _preprocess() -> StageRun:
    from nightshift.preprocess import run

    return run


def _train() -> StageRun:
    from nightshift.train import run

    return run


def _evaluate() -> StageRun:
    from nightshift.evaluate import run

    return run


def _register() -> StageRun:
    from nightshift.register import run

    return run


def _deploy() -> StageRun:
    from nightshift.deploy import run

    return run


STAGE: dict[str, Callable[[], StageRun]] = {
    "ingest": _ingest,
    "validate": _validate,
    "preprocess": _preprocess,
    "train": _train,
    "evaluate": _evaluate,
    "register": _register,
    "deploy": _deploy,
}


def main(argv: list[str]) -> int:
    """Run one stage; gives the exit status, which says what ``--result`` says in one number."""
    arguments = _parser().parse_args(argv)
    _log_to_stdout(arguments.stage)
    with lines_beside(arguments.result):
        return _main(arguments)


def _main(arguments: argparse.Namespace) -> int:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    upstream = {stage: Ref(**ref) for stage, ref in json.loads(arguments.upstream).items()}
    try:
        require_interpreter()
        require_versions(running=package_version(), code=arguments.code_version, dependencies=arguments.dependencies)
        plan = PublishedPlan(arguments.plan, arguments.plan_sha256).load()
        outcome = run_stage(arguments.stage, plan, upstream)
    except NightshiftError as error:
        log.error("%s", error)
        outcome = error
    if arguments.result is not None:
        _leave(arguments.result, outcome)
    if isinstance(outcome, NightshiftError):
        return UNEXPECTED if isinstance(outcome, _Unexpected) else outcome.exit_code
    return 0


def refuse(argv: list[str], error: NightshiftError) -> int:
    """Report an error that stands in the way of the stage, as if the stage had ended with it."""
    arguments = _parser().parse_args(argv)
    _log_to_stdout(arguments.stage)
    log.error("%s", error)
    if arguments.result is not None:
        _leave(arguments.result, error)
    return error.exit_code


def run_stage(stage: str, plan: Plan, upstream: Mapping[str, Ref]) -> StageResult | NightshiftError:
    """Run one stage in this process, in a scratch folder that is gone afterwards, and render the run's
    report where the stage ends the run: after the last one, or after a failure.

    Args:
        stage: Name of the stage.
        plan: The run's plan.
        upstream: The versions that earlier stages published, by stage.

    Returns:
        What the stage did, or the error that it ended with.
    """
    began = time.monotonic()
    log.info("night %s of %s", plan.interval.night, plan.model)
    if plan.code_version != package_version():
        log.info("the code has changed since this run was planned; the code of today runs")
    store = Store.of(plan)
    outcome = _attempt(stage, plan, store, upstream)
    if isinstance(outcome, StageResult):
        log.info("%s in %.1f s", _sentence(outcome), time.monotonic() - began)
    elif isinstance(outcome, NightSkipped):
        log.info("%s", outcome.message)
    else:
        log.error("%s", outcome)
    skipped = isinstance(outcome, StageResult) and outcome.status == "skipped"
    ends = skipped or stage in ("deploy", stages_of(plan.spec)[-1])
    if ends or (isinstance(outcome, NightshiftError) and not isinstance(outcome, NightSkipped)):
        _render_report(stage, plan, store, upstream, outcome)
    return outcome


class _Unexpected(JobError):
    """An exception that nobody foresaw; its traceback is in the log."""


def _attempt(stage: str, plan: Plan, store: Store, upstream: Mapping[str, Ref]) -> StageResult | NightshiftError:
    try:
        if stage in BEFORE_EVALUATE:
            # A night that cannot train ends before it has read anything.
            require_engine(plan.spec)
        if stage == STAGES[0]:
            _require_engine(plan)
        with tempfile.TemporaryDirectory(prefix=f"nightshift-{stage}-", ignore_cleanup_errors=True) as scratch:
            return STAGE[stage]()(plan, StageIO(store, dict(upstream), Path(scratch)))
    except NightshiftError as error:
        return error
    except Exception as error:
        log.exception("%s met an error that it does not know", stage)
        # Errors of Spark bring a hundred lines of Java's stack with them.
        told = str(error).partition("\n\tat ")[0]
        return _Unexpected(
            f"{type(error).__name__} in {stage}: {told}", hint="its traceback is in the log of the task, above"
        )


def _require_engine(plan: Plan) -> None:
    """End a night at its start where the class that is to learn, hours later, cannot be used."""
    if is_own(plan.spec.training.engine):
        from nightshift.train import require_own

        require_own(plan.spec.training, plan.spec.label.task)


def _render_report(
    stage: str, plan: Plan, store: Store, upstream: Mapping[str, Ref], outcome: StageResult | NightshiftError
) -> None:
    """Render the run's report. It is never the reason that a run fails."""
    try:
        from nightshift.report import render_run

        results: dict[str, StageResult | NightshiftError] = {
            name: StageResult.of(store.resolve(ref), reused=False) for name, ref in upstream.items()
        }
        results[stage] = outcome
        log.info("run report: %s", render_run(plan, store, results))
    except Exception as error:
        log.warning("the run report could not be rendered: %s", error, exc_info=True)


def _leave(where: str, outcome: StageResult | NightshiftError) -> None:
    """Write the result so that a reader sees all of it or nothing."""
    if is_distant(where):
        leave_distant(where, json.dumps(_to_dict(outcome)).encode())
        return
    path = Path(where)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(_to_dict(outcome)))
    unfinished.replace(path)


def _to_dict(outcome: StageResult | NightshiftError) -> dict[str, Any]:
    if isinstance(outcome, StageResult):
        return outcome.to_dict()
    kind = "JobError" if isinstance(outcome, _Unexpected) else type(outcome).__name__
    return {"error": {"type": kind, "message": outcome.message, "hint": outcome.hint, "retryable": outcome.retryable}}


def _sentence(result: StageResult) -> str:
    if result.reused:
        return f"{result.status}, as published before: {result.ref}"
    told = f"{result.status}: {result.reason}" if result.reason else result.status
    return f"{told} ({result.ref})" if result.ref else told


def _log_to_stdout(stage: str) -> None:
    """``HH:MM:SS INFO stage: message`` in UTC for our own records, warnings and worse for everybody else's."""
    formatter = logging.Formatter(f"%(asctime)s %(levelname)s {stage}: %(message)s", datefmt="%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("nightshift").setLevel(logging.INFO)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nightshift.jobs", description="Run one stage of one night.")
    parser.add_argument("stage", choices=list(STAGE))
    parser.add_argument("--plan", required=True, metavar="URI", help="where the run's plan was published")
    parser.add_argument("--plan-sha256", required=True, metavar="D", help="what the plan's bytes must hash to")
    parser.add_argument("--upstream", default="{}", metavar="JSON", help="versions published by earlier stages")
    parser.add_argument("--code-version", metavar="D", help="digest of the code that started this; other code refuses")
    parser.add_argument("--dependencies", metavar="D", help="digest of the lock that the packages must be from")
    parser.add_argument("--result", metavar="PLACE", help="where to leave the result: a path, or a URI in the store")
    return parser
