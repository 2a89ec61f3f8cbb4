"""The engines that a spec can name, and the rules of their parameters."""

from __future__ import annotations

from nightshift.spec.parameters import EngineParams
from nightshift.spec.xgboost_params import XGBOOST

PARAMS: dict[str, EngineParams] = {"xgboost": XGBOOST}
