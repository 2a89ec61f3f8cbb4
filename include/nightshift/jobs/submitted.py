"""What ``spark-submit`` runs: a stage, as ``nightshift.jobs`` does, on the cluster that it was submitted to."""

from __future__ import annotations

from nightshift.jobs import runner
from nightshift.spark.session import Submitted, use_submitted

# What a step of EMR starts. The first import is what any Python understands: see ``stamps``.
EMR_ENTRY = """\
import sys

from nightshift.stamps import interpreter_fits

if not interpreter_fits(sys.argv[1:]):
    sys.exit(78)

from nightshift.jobs.submitted import main

sys.exit(main(sys.argv[1:], cluster="emr"))
"""


def main(argv: list[str], *, cluster: Submitted = "standalone") -> int:
    """Run one stage; gives the exit status."""
    use_submitted(cluster)
    return runner.main(argv)
