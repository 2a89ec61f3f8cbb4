"""What every section of a spec is: a frozen pydantic model that refuses unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SpecModel(BaseModel):
    # The texts below the keys get into the schema by schema.py. Pydantic's use_attribute_docstrings would look for
    # the source of each class at import: more than half of what this module costs the parse of every DAG file.
    model_config = ConfigDict(frozen=True, extra="forbid")
