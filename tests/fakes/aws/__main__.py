"""Runs the double in a terminal until Ctrl-C: ``python -m tests.fakes.aws``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time

from tests.fakes.aws import Timing, aws_double
from tests.fakes.aws.control import ROOT

TICK = 1.0


def main(argv: list[str]) -> int:
    """Listen, print what to export, and let time pass."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.aws", description=__doc__)
    parser.add_argument("--port", type=int, default=5005, help="where to listen on 127.0.0.1 (%(default)s)")
    parser.add_argument("--bucket", default="nightshift", help="a bucket to make (%(default)s)")
    parser.add_argument("--programs", help="prefix that programs of steps must be below (default: the bucket)")
    parser.add_argument(
        "--phase", type=float, default=2.0, help="seconds that STARTING and the like take (%(default)s)"
    )
    wished = parser.parse_args(argv)
    # Whoever was started in the background of a script would otherwise never hear of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    timing = Timing(wished.phase, wished.phase, wished.phase)
    programs = wished.programs or f"s3://{wished.bucket}/"
    with aws_double(port=wished.port, programs=programs, timing=timing) as double:
        double.client("s3").create_bucket(Bucket=wished.bucket)
        for name, value in double.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(
            f"# Amazon EMR and S3 on {double.endpoint}, with the bucket {wished.bucket}. Steps: programs below {programs}"
        )
        print(f"# Faults, clock, journal, bill: {double.endpoint}{ROOT}… (tests/fakes/aws/control.py). Ctrl-C ends it.")
        sys.stdout.flush()
        try:
            while True:
                time.sleep(TICK)
                double.settle()
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
