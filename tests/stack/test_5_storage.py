"""The storage contract on the stack's MinIO, races included."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.stack.stack import ROOT, Stack


def test_minio_keeps_the_storage_contract(stack: Stack) -> None:
    environ = {
        **os.environ,
        "NIGHTSHIFT_TEST_S3": stack.url("MINIO_PORT"),
        "AWS_ACCESS_KEY_ID": stack.secrets["MINIO_ROOT_USER"],
        "AWS_SECRET_ACCESS_KEY": stack.secrets["MINIO_ROOT_PASSWORD"],
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract", "-k", "minio"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
