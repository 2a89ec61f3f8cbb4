"""Model specs: one YAML file per model, in the words of machine learning."""
