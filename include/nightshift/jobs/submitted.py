"""What ``spark-submit`` runs: a stage, as ``nightshift.jobs`` does, on the cluster that it was submitted to."""

from __future__ import annotations

from nightshift.errors import JobError
from nightshift.jobs import runner
from nightshift.jobs.archive import check_stamp
from nightshift.spark.session import use_submitted


def main(argv: list[str]) -> int:
    """Run one stage; gives the exit status."""
    try:
        check_stamp()
    except JobError as error:
        return runner.refuse(argv, error)
    use_submitted()
    return runner.main(argv)
