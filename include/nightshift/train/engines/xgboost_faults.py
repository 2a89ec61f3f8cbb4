"""What xgboost says of parameters that it cannot read: the spec's fault, and no try helps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from nightshift.errors import SpecError
from nightshift.storage.objects import first_line

# Its errors have one class for everything, and only words to tell them apart.
OF_PARAMETERS = re.compile(r"(?i)^(out of range value for|invalid parameter format|value \S+ for parameter)")


@contextmanager
def parameters_blamed() -> Iterator[None]:
    """Raises SpecError: Within the block, xgboost refused a parameter."""
    import xgboost

    try:
        yield
    except xgboost.core.XGBoostError as error:
        told = first_line(error)
        if not OF_PARAMETERS.match(told):
            raise
        raise SpecError(
            f"xgboost does not take the parameters: {told}", hint="see training.params and training.seed in the spec"
        ) from error
