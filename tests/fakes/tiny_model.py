"""A small model over daily CSV files, for tests that run whole nights: real stages, seconds each."""

from __future__ import annotations

import csv
import random
from datetime import date, timedelta
from pathlib import Path

FIRST_DAY = date(2024, 2, 19)  # the window spans a leap day
DAYS = 14
ROWS = 200
FIRST_NIGHT = date(2024, 3, 2)

SPEC = """\
version: 1
model: {model}
description: Will the parcel be late?
owner: tests@example.com
schedule: "0 2 * * *"
source: {{kind: files, uri: "{data}/%Y-%m-%d.csv", time: sent_at, since: {since}}}
key: [parcel]
tables: {{}}
prepare: {model}.sql
expectations:
  - {{column: weight, between: [0, 100], mostly: 0.9}}
  - {{column: lane, in_set: [air, road, sea]}}
quarantine: {{max_fraction: 0.05}}
label: {{column: days_late, positive: ">= 1", delay: 1d}}
features: {{numeric: [weight, distance], categorical: [lane]}}
window: {{train: 7d, holdout: 3d}}
training: {{engine: xgboost, params: {{n_estimators: 20, max_depth: 3}}}}
gates:
  minimum: {minimum}
  slices: [lane]
  versus_champion: # three days of 200 rows say little: wide margins let the nights replace one another
    {{margin: 0.15, log_loss_margin: 0.3, calibration_margin: 0.3, least: {{days: 3, rows: 300, of_each_class: 30}}}}
retries: 0
"""

SQL = """\
SELECT parcel, sent_at, days_late, weight, distance, lane
FROM source
"""


def write_day(folder: Path, day: date, *, rows: int = ROWS) -> Path:
    """One day's CSV: same day, same bytes."""
    rng = random.Random(day.toordinal())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{day}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["parcel", "sent_at", "weight", "distance", "lane", "days_late"])
        for number in range(rows):
            weight, distance = round(rng.uniform(0.1, 60), 2), rng.randrange(5, 3000)
            lane = rng.choice(["air", "road", "sea"])
            chance = 0.05 + 0.4 * (distance > 1500) + 0.3 * (lane == "sea") + 0.003 * weight
            late = rng.randrange(1, 5) if rng.random() < chance else 0
            moment = f"{day}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00Z"
            out.writerow([f"{day:%m%d}-{number:04d}", moment, weight, distance, lane, late])
    return path


def write_model(root: Path, *, model: str = "parcels", minimum: float = 0.6, days: int = DAYS) -> Path:
    """Specs, SQL and data below ``root``; gives the folder of specs."""
    models, data = root / "dags" / "models", root / "data"
    models.mkdir(parents=True, exist_ok=True)
    (models / f"{model}.yaml").write_text(SPEC.format(model=model, data=data, since=FIRST_DAY, minimum=minimum))
    (models / f"{model}.sql").write_text(SQL)
    for number in range(days):
        write_day(data, FIRST_DAY + timedelta(days=number))
    return models
