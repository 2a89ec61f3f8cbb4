"""From trained nights to aliases, with the real MLflow store and the real fresh process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.mlflow_database import mlflow_uri
from tests.fakes.trained_night import FIRST, trained_night

from nightshift import deploy, evaluate, register
from nightshift.deploy.roles import apply_roles
from nightshift.errors import InfraCheckFailed
from nightshift.ledger import Ledger
from nightshift.registry.aliases import Aliases

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated", "ignore::DeprecationWarning:mlflow.*"
)
SECOND, THIRD = FIRST + timedelta(days=1), FIRST + timedelta(days=2)


@pytest.fixture
def registry(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Aliases]:
    import mlflow

    monkeypatch.chdir(tmp_path)
    yield Aliases(mlflow_uri(tmp_path_factory, tmp_path), "test-parcels")
    mlflow.set_tracking_uri(None)


def test_aliases_follow_the_ledger_over_three_nights(tmp_path: Path, registry: Aliases) -> None:
    first, result = trained_night(tmp_path, FIRST).run(evaluate, register, deploy)
    assert (result.status, registry.read().aliases) == ("succeeded", {"champion": 1})

    _, result = trained_night(tmp_path, SECOND).run(evaluate, register, deploy)
    assert (result.status, registry.read().aliases) == ("succeeded", {"champion": 2, "previous": 1})

    _, result = trained_night(tmp_path, THIRD, flipped=0.48).run(evaluate, register, deploy)
    assert (result.status, registry.read().aliases) == ("skipped", {"champion": 2, "previous": 1})
    entries = Ledger(first.store).entries()
    assert [(entry.kind, entry.candidate.model_version) for entry in entries] == [
        ("promotion", 1),
        ("promotion", 2),
        ("refusal", 3),
    ]

    registry.apply({"champion": 3}, sequence=3)
    found = apply_roles(Ledger(first.store), registry)
    assert (found.before, found.by_hand) == ({"champion": 3}, ("champion",))
    assert registry.read().aliases == {"champion": 2, "previous": 1}


def test_a_whole_promoted_night_again_repeats_nothing(tmp_path: Path, registry: Aliases) -> None:
    trained_night(tmp_path, FIRST).run(evaluate, register, deploy)
    night, _ = trained_night(tmp_path, SECOND).run(evaluate, register, deploy)
    results = []
    for stage in (evaluate, register, deploy):
        night, result = night.run(stage)
        results.append(result.reused)
    assert results == [True, True, True]
    assert len(Ledger(night.store).entries()) == 2


def test_a_model_whose_stored_byte_changed_after_register_does_not_ship(tmp_path: Path, registry: Aliases) -> None:
    first, _ = trained_night(tmp_path, FIRST).run(evaluate, register, deploy)
    night, _ = trained_night(tmp_path, SECOND).run(evaluate, register)
    golden = night.store.objects.local_path(f"{night.io.given('evaluate').folder}/golden/part-00000.parquet")
    kept = golden.read_bytes()
    path = night.store.objects.local_path(f"{night.io.given('train').folder}/graph.onnx")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Exception, match="has other bytes than were published"):
        night.run(deploy)
    assert golden.read_bytes() == kept
    assert registry.read().aliases == {"champion": 1}
    champion = Ledger(first.store).champion()
    assert champion is not None
    assert champion.model_version == 1


def test_a_model_that_scores_otherwise_elsewhere_does_not_ship(
    tmp_path: Path, registry: Aliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The golden rows were scored by another model than the one that would serve."""
    night, _ = trained_night(tmp_path, FIRST).run(evaluate, register)
    other, _ = trained_night(tmp_path / "other", FIRST, flipped=0.3).run(evaluate)
    path = "golden/part-00000.parquet"
    wrong = other.store.objects.local_path(f"{other.io.given('evaluate').folder}/{path}")
    download = night.store.download

    def swapped(manifest: object, name: str, to: Path) -> Path:
        return wrong if name == path else download(manifest, name, to)  # type: ignore[arg-type]

    monkeypatch.setattr(night.store, "download", swapped)
    with pytest.raises(InfraCheckFailed, match="recorded and reproduced scores of the golden rows disagree"):
        night.run(deploy)
    assert Ledger(night.store).champion() is None
