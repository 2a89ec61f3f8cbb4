"""``python -m nightshift.deploy.fresh_load``: load a model as a server would, and score its golden rows.

Prints one JSON object; on failure, the reason as the last line on stderr and exit code 66.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nightshift.deploy.latency import measure
from nightshift.errors import NightshiftError
from nightshift.model.parity import compare
from nightshift.model.scores import from_column
from nightshift.model.session import Scorer


def reproduce(
    model: Path,
    digest: str,
    golden: Path,
    threshold: float | None,
    *,
    calls: int = 0,
    champion: tuple[Path, str] | None = None,
) -> dict[str, Any]:
    """Load, score, and time single rows.

    Args:
        model: The ONNX graph.
        digest: sha256 that its bytes must have.
        golden: Parquet file: request columns, and ``__score``.
        threshold: Probability from which a row is positive; None where the label is not binary.
        calls: How many calls with one row to time.
        champion: The champion's graph and its digest, to be timed between them.

    Returns:
        The fields of ``InfraCheck`` except ``target``.

    Raises:
        IntegrityError: The bytes do not have the digest.
        InfraCheckFailed: The graph may not be loaded.
        ParityError: The scores are other ones.
    """
    import onnxruntime
    import pyarrow.parquet as pq

    rows = pq.read_table(golden)
    began = time.perf_counter()
    scorer = Scorer.load(model.read_bytes(), digest=digest)
    loaded = time.perf_counter()
    scores = scorer.score(rows)
    scored = time.perf_counter()
    expected = from_column(rows.column("__score"))
    parity = compare(expected, scores, task=scorer.task, threshold=threshold)
    parity.require("recorded and reproduced scores of the golden rows")
    latency = None
    if calls:
        other = None if champion is None else Scorer.load(champion[0].read_bytes(), digest=champion[1])
        latency = asdict(measure(scorer, other, rows, calls=calls))
    return {
        "latency": latency,
        "rows": parity.rows,
        "max_diff": parity.max_diff,
        "load_seconds": round(loaded - began, 4),
        "score_seconds": round(scored - loaded, 4),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nightshift.deploy.fresh_load")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--digest", required=True)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--memory-mb", type=int, required=True)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--champion", type=Path)
    parser.add_argument("--champion-digest")
    given = parser.parse_args(arguments)
    limit = given.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        champion = None if given.champion is None else (given.champion, given.champion_digest)
        found = reproduce(
            given.model, given.digest, given.golden, given.threshold, calls=given.calls, champion=champion
        )
    except NightshiftError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    except MemoryError:
        sys.stderr.write(f"it needs more than {given.memory_mb} MB of memory\n")
        return 66
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
