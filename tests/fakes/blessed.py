"""Versions with blessings, as nights publish them, without running any."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import Any

from nightshift.ledger import Blessed, Candidate, Entry, Ledger, Obstacle
from nightshift.ledger import blessings as stored
from nightshift.ledger.blessings import Blessing, Check, Kind, WaivedBy
from nightshift.plan import Interval
from nightshift.storage import Ref, Store

FIRST_DAY = date(2013, 7, 1)
GOOD = Check("as_told", True, 1.0, 0.5, "The test says that it is fit.")
BAD = Check("as_told", False, 0.1, 0.5, "The test says that it is unfit.")


def interval_of(day: int) -> Interval:
    return Interval.of_day(FIRST_DAY + timedelta(days=day - 1))


def blessing_of(
    kind: Kind, interval: str, about: str | None = None, *, fit: bool = True, waiver: WaivedBy | None = None
) -> Blessing:
    return Blessing.judged(
        kind,
        [GOOD if fit else BAD],
        interval=interval,
        evidence="none",
        about=None if kind == "data" else about,
        waiver=waiver,
    )


def publish(
    store: Store,
    dataset: str,
    interval: str,
    *,
    key: str,
    blessing: Blessing | None = None,
    files: dict[str, bytes] | None = None,
    inputs: dict[str, Ref] | None = None,
    result: dict[str, Any] | None = None,
) -> Ref:
    """A version of a dataset; the one that is there, if there is one with this key."""
    if (there := store.find(dataset, interval, key)) is not None:
        return there.ref
    attempt = store.attempt(dataset, interval)
    attempt.put("key.txt", key.encode())
    for name, data in (files or {}).items():
        attempt.put(name, data)
    if blessing is not None:
        stored.write(attempt, blessing)
    return attempt.publish(stage_key=key, code="code", inputs=inputs, result=result).ref


def a_candidate(store: Store, version: int = 1, day: int = 14) -> Candidate:
    """A trained version of a night, its data blessed."""
    interval, graph = interval_of(day), f"graph {version}".encode()
    data = publish(
        store, "preprocess", interval.key, key=f"preprocess {version}", blessing=blessing_of("data", interval.key)
    )
    train = publish(
        store, "train", interval.key, key=f"train {version}", files={"graph.onnx": graph}, inputs={"preprocess": data}
    )
    return Candidate(version, hashlib.sha256(graph).hexdigest(), interval, train, f"run-{version}")


def registered(store: Store, version: int = 1, day: int = 14) -> Candidate:
    """A version that its night registered, and nobody promoted."""
    candidate = a_candidate(store, version, day)
    publish(
        store, "register", candidate.interval.key, key=f"register {version}", inputs={"train": candidate.train},
        result={"model_version": version, "model_digest": candidate.model_digest, "mlflow_run_id": f"run-{version}"},
    )  # fmt: skip
    return candidate


def bless(store: Store, candidate: Candidate, *, opponent: int | None = None) -> Blessed:
    """All three blessings of a version that was judged against a champion."""
    key, version, inputs = candidate.interval.key, candidate.model_version, {"train": candidate.train}
    about = candidate.model_digest
    quality = publish(
        store, "evaluate", key, key=f"evaluate {version} against {opponent}", inputs=inputs,
        blessing=blessing_of("quality", key, about), result={"champion_version": opponent},
    )  # fmt: skip
    infra = publish(
        store, "infra", key, key=f"infra {version}", inputs=inputs, blessing=blessing_of("infra", key, about)
    )
    return Blessed.collect(store, candidate, quality=quality, infra=infra)


def promote(ledger: Ledger, version: int = 1, day: int = 14, run_key: str | None = None) -> Entry | Obstacle:
    """What a night does that was judged against the champion there is."""
    champion = ledger.champion()
    blessed = bless(ledger.store, a_candidate(ledger.store, version, day), opponent=champion and champion.model_version)
    return ledger.promote(blessed, reason="better", by="test", run_key=run_key or f"key-{version}")
