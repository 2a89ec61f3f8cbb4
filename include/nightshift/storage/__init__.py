"""Snapshots that are never half-written: attempts, manifests published last, content digests."""

from nightshift.storage.attempt import Attempt
from nightshift.storage.manifest import FileEntry, Manifest, Output, Ref
from nightshift.storage.probe import require_conditional_create
from nightshift.storage.retention import RetentionReport, apply_retention
from nightshift.storage.store import Store

__all__ = [
    "Attempt",
    "FileEntry",
    "Manifest",
    "Output",
    "Ref",
    "RetentionReport",
    "Store",
    "apply_retention",
    "require_conditional_create",
]
