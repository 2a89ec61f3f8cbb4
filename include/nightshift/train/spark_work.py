"""Work that Spark does for a training without holding slots: it is told about, and its failures have one form.

Spark itself runs a lost executor's tasks again on another one, so nothing begins anew here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nightshift.errors import JobError, SpecError
from nightshift.train.slots import TELL_SECONDS, doing, reason_of

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)


@contextmanager
def spark_work(spark: SparkSession, what: str) -> Iterator[None]:
    """Log what Spark is doing while the block runs.

    Args:
        spark: The session.
        what: What it does, for errors: ``gbt``.

    Raises:
        SpecError: Spark refuses the parameters.
        JobError: Spark failed, or its JVM is gone; another try may succeed.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import IllegalArgumentException, PySparkException

    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(spark.sparkContext, over), name="training-progress", daemon=True)
    teller.start()
    try:
        yield
    except IllegalArgumentException as error:
        raise SpecError(
            f"Spark does not take training.params for {what}: {reason_of(error)}", hint="change that parameter"
        ) from error
    except (Py4JError, PySparkException, ConnectionError) as error:
        raise JobError(
            f"training with {what} failed on Spark: {reason_of(error)}",
            hint="Spark's own lines are in the log above; an executor or a driver that is gone without a word had "
            "too little memory (NIGHTSHIFT_SPARK_MEMORY, NIGHTSHIFT_SPARK_EXECUTOR_MEMORY), or its machine was lost",
        ) from error
    finally:
        over.set()
        teller.join()


def _tell(context: SparkContext, over: threading.Event) -> None:
    from py4j.protocol import Py4JError

    began = time.monotonic()
    while not over.wait(TELL_SECONDS):
        try:
            log.info("train: %.0f s, %s", time.monotonic() - began, doing(context))
        except (Py4JError, ConnectionError) as error:
            log.debug("Spark no longer answers: %s", error)
            return
