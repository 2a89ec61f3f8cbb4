"""What a night leaves in storage, without running one: plausible manifests and evidence of the demo model."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml
from tests.fakes.blessed import blessing_of

from nightshift.ledger import Blessed, Candidate, Entry, Ledger
from nightshift.ledger.blessings import Kind
from nightshift.plan import STAGES, Interval, Plan
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageResult
from nightshift.storage import Manifest, Ref, Store

MODELS = Path(__file__).parents[2] / "dags" / "models"
CARRIERS = (("UA", 2310), ("EV", 2204), ("B6", 2101), ("DL", 1804), ("AA", 1203), ("MQ", 1010), ("US", 760), ("HA", 14))
GAINS = {
    "dep_delay": 8120.5, "dest": 911.2, "local_departure": 702.0, "carrier": 655.1, "wind_speed": 310.0, "origin": 250.3,
    "distance": 244.4, "pressure": 203.0, "temp": 190.9, "visib": 133.8, "precip": 120.5, "plane_age": 60.2, "seats": 22.1,
    "local_weekday": 18.0,
}  # fmt: skip


def demo_spec(**changes: Any) -> ModelSpec:
    """The demo model's spec, with other values for some of its sections."""
    raw = yaml.safe_load((MODELS / "flight_delays.yaml").read_text())
    return ModelSpec.model_validate({**raw, "prepare_sql": "SELECT 1", **changes})


def plan_of(root: Path, night: date, *, spec: ModelSpec | None = None) -> Plan:
    """A plan of the demo model with its storage below ``root``."""
    return Plan(
        spec=spec or demo_spec(),
        interval=Interval.of_day(night - timedelta(days=1)),
        storage=(root / "store").as_uri(),
        env="dev",
        mlflow_uri=f"sqlite:///{root / 'mlflow.db'}",
        run_id=f"manual__{night}",
        trigger="manual",
        threads=2,
        code_version="c0de" * 16,
    )


@dataclass
class PublishedNight:
    """One night of the demo model in storage.

    Attributes:
        plan: Its plan.
        auc: The challenger's ROC AUC.
        champion_auc: The champion's on the same rows; None if there is none.
        reason: Why evaluate refused; None if it did not.
        version: The version that register made.
        until: The last stage that ran.
        graph: Bytes of ``graph.onnx``.
        changes: Other values for the results of stages.
        tables: Tables of stages, by stage and name.
        days: How many of the window's days have data, the newest ones; all by default.
    """

    plan: Plan
    auc: float = 0.9214
    champion_auc: float | None = None
    reason: str | None = None
    version: int = 1
    until: str = "deploy"
    graph: bytes = b"graph"
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    days: int | None = None

    def publish(self) -> dict[str, StageResult]:
        """Write everything; gives the stages' results, as a run would."""
        self.store = Store.of(self.plan)
        self.results: dict[str, StageResult] = {}
        days = self._days()
        inputs: dict[str, Ref] = {f"valid/{day}": ref for day, ref in days.items()}
        champion = Ledger(self.store).champion()
        for stage in STAGES[: STAGES.index(self.until) + 1]:
            files, result, reads = getattr(self, f"_{stage}")(champion and champion.model_version)
            given = inputs if stage in ("validate", "preprocess") else {name: self._ref(name) for name in reads}
            result = {**result, **self.changes.get(stage, {})}
            manifest = self._put(stage, self.plan.interval.key, files, result, given)
            self.results[stage] = StageResult.of(manifest, reused=False)
        if self.until == "deploy":
            self._ledger()
        return self.results

    def moved(self, root: Path) -> PublishedNight:
        """The same night in a copy of its storage below another root."""
        night = replace(
            self,
            plan=replace(self.plan, storage=(root / "store").as_uri(), mlflow_uri=f"sqlite:///{root / 'mlflow.db'}"),
        )
        night.store, night.results = Store.of(night.plan), dict(self.results)
        return night

    def _ref(self, stage: str) -> Ref:
        ref = self.results[stage].ref
        assert ref is not None
        return ref

    def _put(
        self,
        dataset: str,
        interval: str,
        files: Mapping[str, bytes],
        result: Mapping[str, Any],
        inputs: Mapping[str, Ref],
    ) -> Manifest:
        attempt = self.store.attempt(dataset, interval)
        for name, data in files.items():
            attempt.put(name, data)
        tables = self.tables.get(dataset, {"holdout": holdout()} if dataset == "preprocess" else {})
        for name, table in tables.items():
            attempt.put_table(name, table)
        key = f"{dataset}-{interval}-{self.version}"
        return attempt.publish(stage_key=key, code="c0de", inputs=inputs, result=result)

    def _days(self) -> dict[str, Ref]:
        found = {}
        for number, day in enumerate(list(self.plan.windows.ingest.days())[-(self.days or 1000) :]):
            known = self.store.latest("valid", day.key)
            if known is None:
                weekend = day.start.weekday() >= 5
                rows = (760 if weekend else 965) + (number * 37) % 41
                quarantined = (3, 0, 0, 1, 0, 21 if number == 40 else 0)[number % 6]
                result = {
                    "rows_in": rows, "rows_out": rows - quarantined, "quarantined": quarantined,
                    "unlabelled": 12 + (number * 13) % 40, "labelled": rows - quarantined - 30, "positives": 210,
                }  # fmt: skip
                known = self._put("valid", day.key, {"verdict.json": b"{}"}, result, {})
            found[day.key] = known.ref
        return found

    # -- one method per stage: files, result, what it reads ------------------------------------------

    def _ingest(self, champion: int | None) -> Any:
        return (
            {"sources.json": b"{}"},
            {"rows_in": 71523, "rows_out": 71520, "quarantined": 3, "days": 75, "days_added": 75},
            (),
        )

    def _validate(self, champion: int | None) -> Any:
        result = {
            "rows_in": 71520, "rows_out": 71493, "quarantined": 27, "unlabelled": 2310, "expectations": 7, "days_validated": 75,
            "warnings": ["2013-05-24: 21 rows have a dep_delay above 1500"],
        }  # fmt: skip
        titles = ("carrier: has a value", "dest: matches ^[A-Z]{3}$", "dep_delay: between -60 and 1500")
        window = [
            {
                "place": f"expectations[{place}]",
                "title": title,
                "mostly": (1.0, 1.0, 0.99)[place],
                "rows": 71520,
                "failed": 9 * place,
            }
            for place, title in enumerate(titles)
        ]
        return {"verdict.json": json.dumps({"expectations": {"window": window}}).encode()}, result, ()

    def _preprocess(self, champion: int | None) -> Any:
        result = {
            "rows_in": 71493, "filtered": 0, "unlabelled": 2310, "train_rows": 55781, "holdout_rows": 12345, "positives": 15011,
            "feature_columns": 130,
        }  # fmt: skip
        return {"transforms.json": b"{}", **self._blessing("data")}, result, ()

    def _train(self, champion: int | None) -> Any:
        card = {
            "engine": "xgboost", "engine_version": "3.2.0", "params": {"max_depth": 4}, "seed": 0, "threads": 2, "threshold": 0.31,
            "fitted_until": self.plan.windows.train.end.isoformat(), "request": [["dep_delay", "numeric"], ["carrier", "categorical"]],
            "importances": GAINS, "graph_sha256": self.digest, "feature_names": ["dep_delay"],
        }  # fmt: skip
        result = {
            "engine": "xgboost",
            "size": "200 trees",
            "train_rows": 55781,
            "features": 130,
            "model_digest": self.digest,
        }
        files = {"graph.onnx": self.graph, "model.json": json.dumps(card).encode(), "booster.ubj": b"booster"}
        return files, result, ("preprocess",)

    @property
    def digest(self) -> str:
        import hashlib

        return hashlib.sha256(self.graph).hexdigest()

    def _evaluate(self, champion: int | None) -> Any:
        evidence = evaluation(self.auc, self.champion_auc, champion, refused=self.reason)
        result = {
            "challenger": evidence["challenger"]["metrics"],
            "champion": evidence["champion"] and evidence["champion"]["metrics"],
            "champion_version": champion,
            "verdict": "first" if champion is None else "worse" if self.reason else "better",
            "sentence": evidence["sentence"],
            "status": "refused" if self.reason else "succeeded",
            **({"reason": self.reason} if self.reason else {}),
        }
        return (
            {"evaluation.json": json.dumps(evidence).encode(), **self._blessing("quality")},
            result,
            ("preprocess", "train"),
        )

    def _register(self, champion: int | None) -> Any:
        result = {
            "model_version": self.version,
            "model_name": self.plan.model,
            "model_digest": self.digest,
            "parity_max_diff": 3.2e-7,
            "parity_rows": 12545,
        }
        return {"registration.json": b"{}"}, result, ("train", "evaluate", "preprocess")

    def _deploy(self, champion: int | None) -> Any:
        entry = len(Ledger(self.store).entries()) + 1
        skipped = {"status": "skipped", "reason": self.reason, "champion_version": champion, "ledger_sequence": entry}
        promoted = {"ledger_sequence": entry, "champion_version": self.version}
        return {"deployment.json": b"{}"}, skipped if self.reason else promoted, ("train", "evaluate", "register")

    def _blessing(self, kind: Kind) -> dict[str, bytes]:
        fit = kind != "quality" or self.reason is None
        return {"blessing.json": blessing_of(kind, self.plan.interval.key, self.digest, fit=fit).to_json()}

    def _ledger(self) -> None:
        ledger = Ledger(self.store)
        candidate = Candidate(self.version, self.digest, self.plan.interval, self._ref("train"), "run")
        if self.reason:
            ledger.refuse(candidate, reason=self.reason, by=self.plan.run_id, run_key=f"run-{self.version}")
        else:
            train = {"train": self._ref("train")}
            infra = self._put("infra", self.plan.interval.key, self._blessing("infra"), {"verdict": "passed"}, train)
            blessed = Blessed.collect(self.store, candidate, quality=self._ref("evaluate"), infra=infra.ref)
            entry = ledger.promote(blessed, reason="better", by=self.plan.run_id, run_key=f"run-{self.version}")
            assert isinstance(entry, Entry), entry


def holdout() -> Any:
    """Three rows of the holdout; the first one lacks a value."""
    import pyarrow as pa

    return pa.table({"dep_delay": pa.array([None, 2.5, 40.0]), "carrier": pa.array(["AA", "UA", "DL"])})


def evaluation(
    auc: float, champion_auc: float | None, champion_version: int | None, *, refused: str | None = None
) -> dict[str, Any]:
    """An ``evaluation.json`` with curves of the right shape."""
    own = metrics(auc)
    theirs = None
    if champion_auc is not None:
        theirs = {
            "version": champion_version, "digest": "d" * 64, "metrics": metrics(champion_auc), "challenger_on_same_rows": own,
            "rows": 12345, "difference": round(auc - champion_auc, 10), "expected_promotions_per_30": 21.4,
            "gains": {"deciding": gain(auc - champion_auc), "log_loss": gain(0.0012), "calibration": gain(-0.0031)},
        }  # fmt: skip
    sentence = refused or (
        "ROC AUC 0.9214 reaches the floor of 0.8000. It is the first champion."
        if champion_auc is None
        else f"ROC AUC {auc:.4f} is {abs(auc - champion_auc):.4f} above champion v{champion_version}'s {champion_auc:.4f} on the same 12,345 rows."
    )
    checks = [
        {"name": "floor", "passed": auc >= 0.8, "value": auc, "bound": 0.8, "text": f"ROC AUC {auc:.4f} reaches the floor of 0.8000."},
        {"name": "majority", "passed": True, "value": auc, "bound": 0.5, "text": f"ROC AUC {auc:.4f} is above the 0.5000 of guessing."},
        {
            "name": "majority_log_loss", "passed": True, "value": own["log_loss"], "bound": 0.5283,
            "text": "Log loss 0.2741 is better than the 0.5283 of always answering with the share of positives.",
        },
    ]  # fmt: skip
    if champion_auc is not None:
        checks.append(
            {
                "name": "champion",
                "passed": refused is None,
                "value": auc,
                "bound": champion_auc - 0.005,
                "text": sentence,
            }
        )
    return {
        "format": 1,
        "metric": "roc_auc",
        "holdout": {"rows": 12345, "positives": 2791, "rows_left_out": 0},
        "challenger": {"digest": "c" * 64, "metrics": own},
        "champion": theirs,
        "baselines": {
            "majority": {"rate": 0.22, "roc_auc": 0.5, "log_loss": 0.5283},
            "best_single_feature": {"feature": "dep_delay", "roc_auc": 0.9093, "train_roc_auc": 0.9085, "orientation": "higher"},
        },
        "roc": {
            "challenger": roc_points(auc),
            "champion": roc_points(champion_auc) if champion_auc else None,
            "best_single_feature": roc_points(0.9093),
        },
        "calibration": {"challenger": calibration(0.02), "champion": calibration(-0.05) if champion_auc else None},
        "histogram": histogram(),
        "slices": [
            {
                "column": "carrier", "value": name, "rows": rows, "positives": rows // 4, "small": rows < 500,
                "roc_auc": None if rows < 500 else round(auc + 0.03 * math.sin(rows), 10),
                "gain": None if rows < 500 or champion_auc is None else gain(0.03 * (math.sin(rows) - math.sin(rows + 0.2)), 0.008),
                "champion_roc_auc": None if rows < 500 or champion_auc is None else round(champion_auc + 0.03 * math.sin(rows + 0.2), 10),
            }
            for name, rows in CARRIERS
        ],
        "sentence": sentence,
        "verdict": "first" if champion_auc is None else "worse" if refused else "not_worse",
        "refresh": False,
        "warnings": [],
        "waived_by": None,
        "checks": checks,
    }  # fmt: skip


def gain(value: float, half: float = 0.0045) -> dict[str, Any]:
    bounds = {"value": value, "lower": value - half, "upper": value + half}
    return {
        **{name: round(bound, 10) for name, bound in bounds.items()},
        "error": half / 2.16,
        "days": 14,
        "confidence": 0.95,
    }


def metrics(auc: float) -> dict[str, Any]:
    return {
        "rows": 12345, "positives": 2791, "roc_auc": auc, "average_precision": round(auc - 0.09, 10), "log_loss": round(1.1955 - auc, 10),
        "brier": 0.0801, "threshold": 0.31, "precision": 0.7812, "recall": 0.7345, "f1": 0.7571, "mean_score": 0.221,
    }  # fmt: skip


def roc_points(auc: float) -> list[list[float]]:
    return [[x, round(x ** ((1 - auc) / auc), 6)] for x in (round((index / 99) ** 2, 6) for index in range(100))]


def calibration(bias: float) -> list[dict[str, Any]]:
    shares = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4, 0.75, 0.96)
    return [
        {"lower": p, "upper": p, "rows": 1234, "predicted": p, "observed": min(max(p + bias * 4 * p * (1 - p), 0), 1)}
        for p in shares
    ]


def histogram() -> dict[str, Any]:
    negative = [4200, 2400, 1100, 620, 400, 260, 170, 110, 80, 60, 40, 30, 22, 18, 12, 10, 8, 6, 5, 3]
    positive = [40, 55, 62, 70, 75, 80, 84, 88, 90, 95, 100, 104, 110, 118, 130, 150, 180, 230, 380, 550]
    return {"edges": [round(index / 20, 10) for index in range(21)], "negative": negative, "positive": positive}


def copied_nights(nights: list[PublishedNight], source: Path, root: Path) -> list[PublishedNight]:
    """Published nights, copied with their storage from one root to another: much faster than publishing again."""
    shutil.copytree(source / "store", root / "store", dirs_exist_ok=True)
    return [night.moved(root) for night in nights]


def three_nights(root: Path, *, days: int | None = None) -> list[PublishedNight]:
    """The first champion, its successor, and a refused challenger; reports are not rendered."""
    first = date(2013, 6, 26)
    made = [
        PublishedNight(plan_of(root, first), auc=0.9102, version=1, graph=b"one"),
        PublishedNight(plan_of(root, first + timedelta(days=1)), auc=0.9214, champion_auc=0.918, version=2, graph=b"two"),
        PublishedNight(
            plan_of(root, first + timedelta(days=2)), auc=0.9011, champion_auc=0.9198, version=3, graph=b"three",
            reason="ROC AUC 0.9011 is 0.0187 below champion v2's 0.9198 on the same 12,345 rows; at most 0.0050 below is allowed. "
            "Champion v2 stays.",
        ),
    ]  # fmt: skip
    for night in made:
        night.days = days
        night.publish()
    return made
