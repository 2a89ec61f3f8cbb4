"""From a model's name to its spec and its area in storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.errors import SettingsError, SpecError
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.spec.models import ModelSpec
    from nightshift.storage import Store


def spec_names(settings: Settings) -> list[str]:
    """The models that have a spec file, readable or not."""
    if not settings.models.is_dir():
        raise SettingsError(
            f"there is no folder {settings.models}.",
            hint="run nightshift inside a project that has dags/models, or set NIGHTSHIFT_MODELS",
        )
    return settings.model_names()


def require_name(settings: Settings, model: str) -> None:
    """Raises SpecError: There is no spec of this name; the message lists those there are."""
    names = spec_names(settings)
    if model not in names:
        import difflib

        near = difflib.get_close_matches(model, names, n=1)
        listed = ", ".join(names) or "none"
        raise SpecError(
            f"there is no model {model!r} in {settings.models}.",
            hint=f"did you mean {near[0]}?" if near else f"the models are: {listed}",
        )


def load(settings: Settings, model: str) -> ModelSpec:
    """A model's spec.

    Raises:
        SpecError: There is none of this name, or it cannot be used.
    """
    from nightshift.spec.loader import load_spec

    require_name(settings, model)
    return load_spec(settings.models / f"{model}.yaml")


def store_of(settings: Settings, model: str) -> Store:
    """A model's area in storage, by its spec; a model whose spec is gone is known by its ledger.

    Raises:
        SpecError: There is neither.
        SettingsError: There is no folder of specs, and no ledger.
    """
    from nightshift.storage import Store

    try:
        require_name(settings, model)
    except (SpecError, SettingsError):
        if not _has_ledger(settings, model):
            raise
    return Store.open(settings.storage, env=settings.env, model=model)


def _has_ledger(settings: Settings, model: str) -> bool:
    from nightshift.errors import StorageError
    from nightshift.ledger.areas import models_with_ledger

    try:
        return model in models_with_ledger(settings.storage, env=settings.env)
    except StorageError:
        return False
