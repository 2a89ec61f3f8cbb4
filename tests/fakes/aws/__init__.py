"""Amazon Web Services on loopback, for tests: Moto, and in front of it an EMR whose steps really run.

``aws_double()`` gives a server of its own for the length of a ``with`` block; ``make aws-double`` runs one in a
terminal. Amazon EMR (on EC2, and EMR Serverless) is written here, with the states, reasons, errors and rules of
AWS; steps and jobs run ``spark-submit`` with this environment's PySpark. Everything else (S3, IAM, STS, EC2, KMS, …) is Moto's.

It runs programs that it is sent. So it listens on loopback only, runs nothing but ``spark-submit`` with a program
below one prefix of its own S3, and is no part of the package.
"""

from tests.fakes.aws.clock import Clock
from tests.fakes.aws.cluster import Timing
from tests.fakes.aws.server import AwsDouble, aws_double

__all__ = ["AwsDouble", "Clock", "Timing", "aws_double"]
