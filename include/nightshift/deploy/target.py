"""What a deployment target has to do. One file per kind of target lies in ``targets``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nightshift.deploy.latency import Latency


@dataclass(frozen=True)
class ModelFiles:
    """A version to check, as files on local disk.

    Attributes:
        graph: The ONNX graph.
        digest: sha256 that its bytes must have.
        golden: Parquet file of golden rows: the request columns, and ``__score`` as evaluate recorded it.
        threshold: Probability from which a row is positive; None where the label is not binary.
        memory_mb: Address space of the process that loads it.
        calls: How many calls with one row to time; 0 for none.
        champion: The champion's graph, to be timed between them; None if there is none.
        champion_digest: sha256 that its bytes must have.
    """

    graph: Path
    digest: str
    golden: Path
    threshold: float | None
    memory_mb: int = 4096
    calls: int = 0
    champion: Path | None = None
    champion_digest: str | None = None


@dataclass(frozen=True)
class InfraCheck:
    """Evidence that a version loads where it will serve and scores as it did when it was judged.

    Attributes:
        target: The deployment target.
        rows: Golden rows reproduced.
        max_diff: Largest difference of a score.
        load_seconds: From bytes to a session.
        score_seconds: For all golden rows.
        peak_mb: Largest resident memory of the process.
        runtime: Name and version of what loaded it.
        latency: How long one row takes, beside the champion; None where that was not asked.
    """

    target: str
    rows: int
    max_diff: float
    load_seconds: float
    score_seconds: float
    peak_mb: float
    runtime: str
    latency: Latency | None = None


class DeploymentTarget(Protocol):
    """Somewhere to serve a model."""

    name: str

    def check(self, files: ModelFiles) -> InfraCheck:
        """Load a version there, beside the champion, and reproduce its golden rows.

        Raises:
            InfraCheckFailed: It does not load, or scores otherwise; the champion is untouched.
        """
        ...
