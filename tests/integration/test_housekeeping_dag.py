"""``airflow dags test nightshift__housekeeping``, as a person or a CI runs it, on local disk and on S3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from tests.fakes.minio import Minio
from tests.fakes.moto import moto

from nightshift.storage import Store

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parent.parent.parent
AIRFLOW = str(Path(sys.executable).parent / "airflow")
DAG = "nightshift__housekeeping"
DAY = "2024-05-04"


class Workplace:
    """The housekeeping DAG, one spec, and an Airflow database below one folder."""

    def __init__(self, root: Path) -> None:
        models = root / "dags" / "models"
        models.mkdir(parents=True)
        (models / "parcels.yaml").write_text("housekeeping needs the name only")
        for name in ("housekeeping.py", ".airflowignore"):
            shutil.copy(ROOT / "dags" / name, root / "dags")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "NIGHTSHIFT"))},
            "AIRFLOW_HOME": str(root / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(root / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "NIGHTSHIFT_HOME": str(root / "nightshift"),
            "NIGHTSHIFT_MODELS": str(models),
        }
        self.store = (root / "nightshift" / "store").as_uri()
        assert self.airflow("db", "migrate").returncode == 0

    def airflow(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command line; SIGTERM would not end it, so a timeout kills."""
        return subprocess.run(
            [AIRFLOW, *words],
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("housekeeping"))


@pytest.fixture(name="moto")
def moto_server() -> Iterator[Minio]:
    with moto() as server:
        yield server


def fill(store: Store) -> None:
    for number in range(4):
        attempt = store.attempt("data", DAY)
        attempt.put("content.txt", f"{number}".encode() * 1000)
        attempt.publish(stage_key=f"{number}", code="c")


def test_it_succeeds_on_local_disk_and_says_what_it_removed(workplace: Workplace) -> None:
    store = Store.open(workplace.store, env="dev", model="parcels")
    fill(store)
    ran = workplace.airflow("dags", "test", DAG, "--conf", '{"garbage_hours": 0}')
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "parcels: deleted 1 versions" in ran.stdout
    assert "freed 0 bytes in all" in ran.stdout
    assert store.versions("data", DAY) == [2, 3, 4]


def test_it_succeeds_on_s3(workplace: Workplace, moto: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    upload = client.create_multipart_upload(Bucket="bucket", Key="dev/parcels/data/x")["UploadId"]
    client.upload_part(Bucket="bucket", Key="dev/parcels/data/x", UploadId=upload, PartNumber=1, Body=b"x" * 700)
    store = Store.open("s3://bucket", env="dev", model="parcels")
    fill(store)
    ran = workplace.airflow(
        "dags", "test", DAG, "--conf", '{"garbage_hours": 0}', NIGHTSHIFT_STORAGE="s3://bucket", **moto.environment
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "s3://bucket/dev: removed 1 uploads (700 bytes)" in ran.stdout
    assert "parcels: deleted 1 versions" in ran.stdout
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")
    assert store.versions("data", DAY) == [2, 3, 4]
    client.close()


def test_a_damaged_model_is_a_failed_run_that_names_it(workplace: Workplace) -> None:
    store = Store.open(workplace.store, env="dev", model="parcels")
    store.objects.write(f"data/{DAY}/v000009.json", b"{")
    ran = workplace.airflow("dags", "test", DAG)
    store.objects.delete([f"data/{DAY}/v000009.json"])
    assert ran.returncode == 1
    assert "v000009.json" in "\n".join(ran.stdout.splitlines()[-8:])
