"""Why a model says what it says of a row: what each request column adds to the score.

What is explained is the ONNX graph that serves, whatever engine trained it. Three methods, by what the graph holds
after the vector (see ``layout``):

=============== ======================= =====================================================================
method          for                     meaning of a column's number
=============== ======================= =====================================================================
``tree_shap``   tree ensembles          its SHAP value against the background rows, by the library shap
``linear_shap`` linear models           the same, which is coefficient times distance from the background's mean
``replacement`` everything else         how much the score falls, on average, with the background's values instead
=============== ======================= =====================================================================

SHAP values add up: base + sum = raw score, within ``TOLERANCE`` of the sizes of what is added. The raw score is what
the last sigmoid or softmax is applied to, so for classes it is in log-odds and not in probabilities. Numbers of the
method ``replacement`` do not add up: columns that act together are counted in each of them.
"""

from nightshift.model.attributions.explainer import (
    BACKGROUND_ROWS,
    SEED,
    TOLERANCE,
    Explainer,
    background_of,
    explainer_of,
)
from nightshift.model.attributions.result import Attributions, Method, Unit

__all__ = [
    "BACKGROUND_ROWS",
    "SEED",
    "TOLERANCE",
    "Attributions",
    "Explainer",
    "Method",
    "Unit",
    "background_of",
    "explainer_of",
]
