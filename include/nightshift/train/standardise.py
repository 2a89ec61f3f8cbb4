"""Means and deviations of features, exact: no order of rows and no number of workers changes a bit of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nightshift.model.heads.network import LIMIT, Standard
from nightshift.train.ranks import Ranks
from nightshift.transforms.estimators import GRID, MomentSums
from nightshift.transforms.numeric import Scale

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

HALF = 28  # bits: what is added up stays far below 2**63 for as many rows as there can be
BLOCK = 65_536


def standard_of(vectors: Array, ranks: Ranks) -> Standard:
    """Of the rows of all ranks.

    Args:
        vectors: ``[n, F]`` float32, the rows of this rank; what is not finite counts as missing.
        ranks: Whose rows count.
    """
    import numpy as np

    known = np.isfinite(vectors)
    # Of 0.0 and -0.0 either may be called the smallest; adding 0.0 leaves one of them.
    lows = ranks.lowest(vectors.min(0, where=known, initial=np.inf).astype(np.float64)) + 0.0
    highs = 0.0 - ranks.lowest(-vectors.max(0, where=known, initial=-np.inf).astype(np.float64))
    varied = [(place, MomentSums("scale", *bounds)) for place, bounds in _ranges(lows, highs)]
    sums = np.array([_sums(vectors[known[:, place], place], moments) for place, moments in varied], np.int64)
    totals = ranks.total(sums.reshape(-1, 5))
    means, scales = np.where(np.isfinite(lows), lows, 0.0), np.zeros(len(lows))
    for (place, moments), (count, *parts) in zip(varied, totals.tolist(), strict=True):
        places, squares = ((high << HALF) + low for high, low in (parts[:2], parts[2:]))
        fitted = moments.fit((count, places, squares))
        assert isinstance(fitted, Scale)
        means[place] = fitted.mean
        scales[place] = 1 / fitted.deviation if fitted.deviation else 0.0
    return Standard(means, scales)


def standardised(vectors: Array, standard: Standard, dtype: Any = "float32") -> Array:
    """As the network sees them: ``[n, F]`` of ``dtype``, without NaN. The arithmetic is that of the graph."""
    import numpy as np

    result = np.empty(vectors.shape, dtype)
    with np.errstate(invalid="ignore"):
        for start in range(0, len(vectors), BLOCK):
            block = (vectors[start : start + BLOCK].astype(np.float64) - standard.means) * standard.scales
            block[np.isnan(block)] = 0.0
            result[start : start + BLOCK] = block.clip(-LIMIT, LIMIT)
    return result


def _ranges(lows: Array, highs: Array) -> Any:
    """Place, smallest and largest value of every feature that varies."""
    for place, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        if math.isfinite(low) and low < high:
            yield place, (low, high)


def _sums(values: Array, moments: MomentSums) -> list[int]:
    """Count, and the sums of ``MomentSums``, each in two parts: exact where one int64 would be too small."""
    import numpy as np

    places = (values.astype(np.float64) - moments.low) / moments.unit
    found = [len(values)]
    for each in (places, places * places):
        steps = (each * GRID).astype(np.int64)
        found += [int((steps >> HALF).sum()), int((steps & ((1 << HALF) - 1)).sum())]
    return found
