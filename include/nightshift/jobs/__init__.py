"""The one way a stage runs anywhere: ``python -m nightshift.jobs <stage> --plan URI --plan-sha256 D``."""

from nightshift.jobs.planning import PublishedPlan, make_plan, publish, replan
from nightshift.jobs.process import Cancellation, Job, run_job

__all__ = ["Cancellation", "Job", "PublishedPlan", "make_plan", "publish", "replan", "run_job"]
