"""What ``spark-submit`` runs: a stage, as ``nightshift.jobs`` does, on the cluster that it was submitted to."""

from __future__ import annotations

import hashlib

from nightshift.jobs import runner
from nightshift.spark.session import Submitted, use_submitted

# The first import is what any Python understands: see ``stamps``.
ENTRY = """\
import sys

from nightshift.stamps import interpreter_fits

if not interpreter_fits(sys.argv[1:]):
    sys.exit(78)

from nightshift.jobs.submitted import main

sys.exit(main(sys.argv[1:], cluster="{cluster}"))
"""


def entry(cluster: Submitted) -> str:
    """The program that ``spark-submit`` starts."""
    return ENTRY.format(cluster=cluster)


def emr_entry() -> tuple[str, bytes]:
    """The program of a step of EMR: its file name, which says what is in it, and its bytes."""
    program = entry("emr").encode()
    return f"job-{hashlib.sha256(program).hexdigest()[:16]}.py", program


def main(argv: list[str], *, cluster: Submitted) -> int:
    """Run one stage; gives the exit status."""
    use_submitted(cluster)
    return runner.main(argv)
