"""The model registry: MLflow runs, versions and aliases. The ledger decides; this mirrors and describes."""


def registered_name(*, env: str, model: str) -> str:
    """Name in MLflow: environments that share a server keep apart."""
    return f"{env}-{model}"
