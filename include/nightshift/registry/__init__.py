"""The model registry: MLflow runs, versions and aliases. The ledger decides; this mirrors and describes."""
