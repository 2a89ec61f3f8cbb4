"""Compute target ``emr``: a cluster of Amazon EMR for the length of a night, and one step of it for each stage."""
