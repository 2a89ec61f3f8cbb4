"""What a trained model depends on besides its inputs, the spec's sections and the code of every night."""

from __future__ import annotations

from nightshift.plan import (
    CODE_OF_SPARK,
    LIBRARIES_OF_SEARCH,
    LIBRARIES_OF_SPARK,
    LIBRARIES_OF_TORCH,
    Plan,
    code_digest,
    digest_of,
    library_versions,
)
from nightshift.spec.search_rules import families
from nightshift.spec.spark_use import any_trains_on_spark, engines_of
from nightshift.train.engines import engine_of
from nightshift.train.engines.own import OwnEngine


def key_parts(plan: Plan) -> dict[str, str]:
    """Digests that count in the key of stage train.

    Raises:
        SpecError: The spec names a class of one's own that is not here, or that does not take its parameters.
    """
    training, parts = plan.spec.training, {}
    if any_trains_on_spark(training):
        code, libraries = code_digest(CODE_OF_SPARK), library_versions(LIBRARIES_OF_SPARK)
        parts["spark"] = digest_of({"code": code, "libraries": libraries})
    if training.search is not None:
        libraries = library_versions(LIBRARIES_OF_SEARCH)
        # Which ranges are of whole numbers follows from the engines' rules, which are in no key themselves.
        whole = [{name: one.is_whole(name) for name in one.searched} for one in families(training)]
        parts["search"] = digest_of({"metric": plan.spec.gates.metric, "libraries": libraries, "whole": whole})
    if "torch" in engines_of(training):
        parts["torch"] = digest_of(library_versions(LIBRARIES_OF_TORCH))
    engine = engine_of(training)
    if isinstance(engine, OwnEngine):
        engine.require_params(training, plan.spec.label.task)
        parts["engine"] = engine.digest()
    return parts
