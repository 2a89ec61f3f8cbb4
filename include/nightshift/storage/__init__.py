"""Snapshots that are never half-written: attempts, manifests published last, content digests."""

from nightshift.storage.manifest import FileEntry, Manifest, Output, Ref
from nightshift.storage.store import Attempt, Store

__all__ = ["Attempt", "FileEntry", "Manifest", "Output", "Ref", "Store"]
