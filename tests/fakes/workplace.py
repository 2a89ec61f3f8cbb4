"""A folder in which ``airflow dags test`` runs the DAGs of this repository for a tiny model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fakes.tiny_model import write_model

ROOT = Path(__file__).parent.parent.parent
AIRFLOW = str(Path(sys.executable).parent / "airflow")


class Workplace:
    """DAGs, specs, data and an Airflow database below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.patience = 300.0
        self.models = write_model(root)
        for name in ("retraining.py", "promotion.py", "spec_errors.py", ".airflowignore"):
            shutil.copy(ROOT / "dags" / name, root / "dags")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "NIGHTSHIFT"))},
            "AIRFLOW_HOME": str(root / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(root / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "NIGHTSHIFT_HOME": str(root / "nightshift"),
            "NIGHTSHIFT_MODELS": str(self.models),
        }
        self.airflow("db", "migrate")

    def airflow(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command line; SIGTERM would not end it, so a timeout kills."""
        return subprocess.run(
            [AIRFLOW, *words],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.patience,
            check=False,
        )

    def test(self, night: str, process: str = "retraining", **conf: Any) -> subprocess.CompletedProcess[str]:
        given = ("--conf", json.dumps(conf)) if conf else ()
        return self.airflow("dags", "test", *given, f"parcels__{process}", night)
