"""This machine: a model serves from storage by whoever reads the ledger, so a fresh process is the real test."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from nightshift.deploy.latency import Latency
from nightshift.deploy.target import InfraCheck, ModelFiles
from nightshift.errors import InfraCheckFailed

TIMEOUT_S = 120
# No credentials: a model that is loaded for the first time gets to see nothing it could use.
ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class LocalTarget:
    """Checks a version in a fresh, memory-limited process."""

    name = "local"

    def check(self, files: ModelFiles) -> InfraCheck:
        """See ``DeploymentTarget``."""
        command = [
            sys.executable, "-m", "nightshift.deploy.fresh_load",
            "--model", str(files.graph), "--digest", files.digest, "--golden", str(files.golden),
            "--memory-mb", str(files.memory_mb), "--calls", str(files.calls),
        ]  # fmt: skip
        if files.threshold is not None:
            command += ["--threshold", repr(files.threshold)]
        if files.champion is not None:
            command += ["--champion", str(files.champion), "--champion-digest", str(files.champion_digest)]
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        try:
            done = subprocess.run(
                command,
                check=False,
                # One thread: the address space of idle threads would count against the limit.
                env={**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise InfraCheckFailed(
                f"the model did not load and score within {TIMEOUT_S} s; the champion stays."
            ) from error
        if done.returncode != 0:
            raise InfraCheckFailed(
                f"the model does not serve from a fresh process with {files.memory_mb} MB: {_last_words(done)}.",
                hint="the version is registered, but nothing was promoted; the champion stays. If it needs more memory "
                "by right: deploy.memory in the spec",
            )
        told = json.loads(done.stdout)
        latency = told.pop("latency")
        return InfraCheck(target=self.name, latency=Latency(**latency) if latency else None, **told)


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    said = lines[-1].rstrip(".") if lines else "it said nothing"
    return f"killed by signal {-done.returncode}: {said}" if done.returncode < 0 else said
