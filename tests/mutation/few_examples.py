"""A pytest plugin: fewer examples, the same ones each time, so that a mutant is judged quickly and always alike."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutation", max_examples=20, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("mutation")
