"""A tabular network by PyTorch, on several workers at once: DistributedDataParallel below Spark's TorchDistributor.

The rows never come to this process. Each rank reads its share of the published files itself: as many rows as the
others, one after another in the order of the table. What was learned comes back through storage, from rank 0.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, JobError
from nightshift.model.booster import feature_matrix
from nightshift.spark import session
from nightshift.spec.models import Training
from nightshift.storage import Ref, Store
from nightshift.storage.objects import Objects
from nightshift.train.checkpoints import Checkpoints
from nightshift.train.engines import Fitted
from nightshift.train.engines.torch import fitted, recipe_of
from nightshift.train.engines.xgboost import described
from nightshift.train.network import Network, Recipe, learn
from nightshift.train.ranks import Processes
from nightshift.train.slots import with_all_workers
from nightshift.train.spark_rows import check_rows, ranking_by, read
from nightshift.train.threshold import threshold_of
from nightshift.train.window import FEATURES, LABEL, TrainingWindow

if TYPE_CHECKING:
    import numpy as np
    from pyspark.sql import DataFrame, SparkSession

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

GPUS = "spark.task.resource.gpu.amount"
THREADS_OF_A_RANK = 1  # a slot is one core


class TorchOnSpark:
    """The network of ``Torch``, with ``batch_size`` rows for a step over all workers together."""

    name = "torch"

    def fit(self, window: TrainingWindow, training: Training, *, threads: int, asked: Array) -> Fitted:
        """Train; see ``Engine.fit``."""
        if window.rows < training.worker_count:
            raise DataError(
                f"the training window has {window.rows} rows, too few for {training.worker_count} workers.",
                hint="set training.workers to 1",
            )
        with session(
            window.title, threads=threads, scratch=window.scratch, rows=window.rows, storage=window.root
        ) as spark:
            rows = read(spark, window)
            positives = check_rows(rows, window)
            window.announce(self.name, described(window.label, positives), f"{training.worker_count} workers")
            began = time.monotonic()
            task = _task(rows, window, training)
            data = with_all_workers(spark, training.worker_count, lambda: _train(spark, training.worker_count, task))
            network = Network.from_bytes(data)
            threshold = None
            if window.label.task == "binary":
                threshold = threshold_of(training, lambda: ranking_by(rows, window.width, partial(_scores_of, data)))
            return fitted(network, scores=network.scores(asked), threshold=threshold, seconds=time.monotonic() - began)


def _task(rows: DataFrame, window: TrainingWindow, training: Training) -> dict[str, Any]:
    """What a rank has to know, in words that JSON knows: it is another process, perhaps on another machine."""
    counted = rows.groupBy("_metadata.file_name").count().collect()
    counts = {row["file_name"]: int(row["count"]) for row in counted}
    return {
        "root": window.store.objects.root,
        "given": asdict(window.given.ref),
        "width": window.width,
        "files": [[entry.path, counts.get(entry.path.rpartition("/")[2], 0)] for entry in window.files],
        "recipe": asdict(recipe_of(window, training, rows=window.rows)),
        "checkpoints": None if window.checkpoints is None else asdict(window.checkpoints),
        "result": asdict(
            Checkpoints.of(window.store, window.given.interval, f"result-{uuid.uuid4().hex}")
            if window.checkpoints is None
            else window.checkpoints
        ),
    }


def _train(spark: SparkSession, workers: int, task: Mapping[str, Any]) -> bytes:
    """The network as rank 0 saved it.

    Raises:
        DataError: The ranks refuse to learn from the rows.
        JobError: It saved none.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    name = f"{uuid.uuid4().hex}.pt"
    settings: Any = spark.sparkContext.getConf()
    packages = [uri.rpartition("/")[2] for uri in settings.get("spark.submit.pyFiles", "").split(",") if uri]
    use_gpu = int(settings.get(GPUS, "0")) > 0
    distributor = TorchDistributor(num_processes=workers, local_mode=False, use_gpu=use_gpu)
    distributor.run(_rank_of(packages), json.dumps({**task, "name": name}))
    place = Checkpoints(**task["result"])
    data = place.read(name)
    if data is None:
        raise JobError("the training ended, and rank 0 has left no network in storage.", hint="see the workers' logs")
    if task["checkpoints"] is None:
        place.remove()
    else:
        place.forget(name)
    if data.startswith(b"{"):
        refused = json.loads(data)
        raise DataError(refused["message"], hint=refused["hint"])
    return data


def _rank_of(packages: Sequence[str]) -> Callable[[str], None]:
    """What a rank runs. A function inside a function travels with its code: the rank finds ours only afterwards.

    Args:
        packages: Names of the archives with code that Spark puts into the folder of an executor.
    """

    def rank(task: str) -> None:
        import sys
        from pathlib import Path

        sys.path[:0] = [str(Path(name).resolve()) for name in packages if Path(name).is_file()]
        from nightshift.train.engines.torch_spark import work

        work(task)

    return rank


def work(task: str) -> None:
    """Learn, as one of the ranks that torchrun has started.

    Args:
        task: What ``_task`` says.
    """
    _log_to_stdout()
    told = json.loads(task)
    recipe = Recipe(**told["recipe"])
    checkpoints = None if told["checkpoints"] is None else Checkpoints(**told["checkpoints"])
    with Processes() as ranks:
        vectors, labels = _share(told, ranks.rank, ranks.size)
        try:
            network = learn(recipe, vectors, labels, ranks=ranks, threads=THREADS_OF_A_RANK, checkpoints=checkpoints)
            outcome = network.to_bytes()
        except DataError as error:
            # Every rank has met it. Spark would take it for a failure that another try could mend.
            outcome = json.dumps({"message": error.message, "hint": error.hint}).encode()
        if ranks.rank == 0:
            Checkpoints(**told["result"]).write(told["name"], outcome)


def share_of(files: Sequence[tuple[str, int]], rank: int, size: int) -> Iterator[tuple[str, int, int]]:
    """Which rows of which files a rank learns from: as many as every other rank, or one more.

    Args:
        files: Path and rows of each, in the order of the table.
        rank: From 0.
        size: How many ranks there are.

    Yields:
        Path, first row, and how many.
    """
    total = sum(rows for _, rows in files)
    begin, end = rank * total // size, (rank + 1) * total // size
    before = 0
    for path, rows in files:
        first, last = max(begin - before, 0), min(end - before, rows)
        if first < last:
            yield path, first, last - first
        before += rows


def _share(told: Mapping[str, Any], rank: int, size: int) -> tuple[Array, Array]:
    """Vectors and labels of a rank.

    Raises:
        IntegrityError: A file is not the one that was published.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    store = Store(Objects(told["root"]))
    given = store.resolve(Ref(**told["given"]))
    parts = []
    for path, first, rows in share_of(told["files"], rank, size):
        table = pq.read_table(pa.BufferReader(store.read(given, path)), columns=[FEATURES, LABEL])
        parts.append(table.slice(first, rows))
    share = pa.concat_tables(parts)
    return feature_matrix(share.column(FEATURES), int(told["width"])), share.column(LABEL).to_numpy()


def _log_to_stdout() -> None:
    """The job's own form of lines: TorchDistributor takes them to the job's log."""
    import sys

    formatter = logging.Formatter("%(asctime)s %(levelname)s train: %(message)s", datefmt="%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("nightshift").setLevel(logging.INFO)


def _scores_of(network: bytes) -> Callable[[Array], Array]:
    """What an executor's Python process scores its rows with."""
    import torch

    torch.set_num_threads(THREADS_OF_A_RANK)
    return Network.from_bytes(network).scores
