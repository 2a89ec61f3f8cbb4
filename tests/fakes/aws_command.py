"""A program ``aws`` for scripts that call it: ``aws s3 cp`` by boto3, as the real one, without being installed.

The environment says which server and which keys, as for the real one.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = """\
#!{python}
import sys

import boto3
from botocore.exceptions import ClientError

arguments = [word for word in sys.argv[1:] if not word.startswith("--")]
assert arguments[:2] == ["s3", "cp"], arguments
bucket, _, key = arguments[2].removeprefix("s3://").partition("/")
try:
    boto3.client("s3").download_file(bucket, key, arguments[3])
except ClientError as error:
    sys.exit(f"fatal error: {{error}}")
"""


def write_aws(folder: Path) -> Path:
    """Write the program into a folder that is to be on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "aws"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path
