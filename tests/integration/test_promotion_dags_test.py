"""``approval: manual`` as a CI plays it: ``airflow dags test``, both answers, without anybody to ask."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from tests.fakes.workplace import Workplace

from nightshift.ledger import Entry, Ledger
from nightshift.report.nights import nights
from nightshift.storage import Store

pytestmark = [pytest.mark.airflow, pytest.mark.jvm, pytest.mark.long]

NIGHT, NEXT = "2024-03-02", "2024-03-03"


class ManualWorkplace(Workplace):
    """A workplace whose model waits for a person."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        spec = self.models / "parcels.yaml"
        spec.write_text(spec.read_text() + "approval: manual\n")

    @property
    def store(self) -> Store:
        return Store.open((self.root / "nightshift" / "store").as_uri(), env="dev", model="parcels")

    def entries(self) -> list[Entry]:
        return Ledger(self.store).entries()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> ManualWorkplace:
    """With one night retrained: its version waits."""
    made = ManualWorkplace(tmp_path_factory.mktemp("workplace"))
    ran = made.test(NIGHT)
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "v1 waits for a person's approval" in ran.stdout
    assert "starting task_id=register" in ran.stdout
    assert "starting task_id=deploy" not in ran.stdout
    assert [(one.verdict, one.model_version) for one in nights(made.store)] == [("waiting", 1)]
    assert made.entries() == []
    return made


def test_nobody_to_ask_promotes_nothing_and_does_not_hang(workplace: ManualWorkplace) -> None:
    ran = workplace.test(NIGHT, "promotion")
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "airflow dags test has nobody to ask" in ran.stdout
    assert workplace.entries() == []


def test_rejected_and_approved_by_real_jobs(workplace: ManualWorkplace) -> None:
    ran = workplace.test(NIGHT, "promotion", approve=False)
    assert ran.returncode == 0, ran.stdout[-4000:]
    (rejected,) = workplace.entries()
    assert (rejected.kind, rejected.about.model_version, rejected.to_version) == ("refusal", 1, None)
    assert (rejected.by, rejected.by_a_person) == (getpass.getuser(), True)
    assert [one.verdict for one in nights(workplace.store)] == ["kept"]

    assert workplace.test(NEXT).returncode == 0
    ran = workplace.test(NEXT, "promotion", approve=True)
    assert ran.returncode == 0, ran.stdout[-4000:]
    first, promoted = workplace.entries()
    assert first == rejected
    assert (promoted.kind, promoted.to_version, promoted.by) == ("promotion", 2, getpass.getuser())
    assert set(promoted.blessings) == {"data", "quality", "infra"}
    assert [one.verdict for one in nights(workplace.store)] == ["kept", "promoted"]
