"""Shows model specs that cannot be read as one import error of Airflow. The DAGs of the others are untouched."""

from __future__ import annotations

from pathlib import Path

from nightshift.errors import SpecError
from nightshift.spec.loader import load_specs

if errors := load_specs(Path(__file__).parent / "models").errors:
    count = "1 model spec cannot be used" if len(errors) == 1 else f"{len(errors)} model specs cannot be used"
    raise SpecError(f"{count}; the other models are not affected.\n\n" + "\n\n".join(map(str, errors)))
