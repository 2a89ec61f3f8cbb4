"""What killed writers leave on S3 where obstore does not see it: parts of uploads that never ended, and folder markers.

Parts cost money and no listing of objects shows them. Markers are empty objects whose names end in a slash: Hadoop
makes one for each table it writes, and they stay when the files are gone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from nightshift.errors import SettingsError, StorageError
from nightshift.storage.objects import first_line
from nightshift.storage.patience import S3_SCHEMES

log = logging.getLogger(__name__)

MOST_KEYS = 1000  # of one request
HINT = "the account needs s3:ListBucket, s3:ListBucketMultipartUploads, s3:AbortMultipartUpload and s3:DeleteObject"


@dataclass(frozen=True)
class S3Leftovers:
    """What was removed, or would be.

    Attributes:
        uploads: Keys of the uploads that were aborted.
        upload_bytes: Size of their parts.
        markers: How many folder markers were deleted.
    """

    uploads: tuple[str, ...] = ()
    upload_bytes: int = 0
    markers: int = 0


def remove_s3_leftovers(root: str, *, before: datetime, dry_run: bool = False) -> S3Leftovers:
    """Abort uploads and delete folder markers below a root that are older than a moment.

    Args:
        root: ``s3://bucket/prefix``; there is nothing to do for a root of another scheme.
        before: Aware. A day ago is long enough: no upload lasts so long.
        dry_run: Only say what would go.

    Raises:
        SettingsError: boto3 is not installed here.
        StorageError: The store failed, or does not allow it; call again.
    """
    parts = urlsplit(root)
    if parts.scheme not in S3_SCHEMES:
        return S3Leftovers()
    client = _client()
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = Bucket(client, parts.netloc, f"{unquote(parts.path).strip('/')}/".lstrip("/"))
    try:
        uploads = [upload for upload in bucket.uploads() if upload["Initiated"] < before]
        size = sum(bucket.remove_upload(upload, dry_run=dry_run) for upload in uploads)
        markers = [marker["Key"] for marker in bucket.markers() if marker["LastModified"] < before]
        if not dry_run:
            bucket.remove(markers)
    except (BotoCoreError, ClientError) as error:
        raise StorageError(f"leftovers below {root} cannot be removed: {first_line(error)}", hint=HINT) from error
    finally:
        client.close()
    return S3Leftovers(tuple(upload["Key"] for upload in uploads), size, len(markers))


@dataclass(frozen=True)
class Bucket:
    """One bucket, and the part of it that is ours."""

    client: Any
    name: str
    prefix: str

    def uploads(self) -> Iterator[dict[str, Any]]:
        # Not asked for by prefix: MinIO takes a prefix for the whole name of one object, and shows nothing.
        for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name):
            yield from (upload for upload in page.get("Uploads", []) if upload["Key"].startswith(self.prefix))

    def remove_upload(self, upload: dict[str, Any], *, dry_run: bool) -> int:
        """Give the size of its parts, and abort it; nothing happens to one that has ended meanwhile."""
        place = {"Bucket": self.name, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        try:
            size = sum(
                int(part["Size"])
                for page in self.client.get_paginator("list_parts").paginate(**place)
                for part in page.get("Parts", [])
            )
            if not dry_run:
                self.client.abort_multipart_upload(**place)
        except self.client.exceptions.NoSuchUpload:
            return 0
        log.info("upload of %s, begun at %s: %d bytes", upload["Key"], upload["Initiated"], size)
        return size

    def markers(self) -> Iterator[dict[str, Any]]:
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix):
            for stored in page.get("Contents", []):
                if stored["Key"].endswith("/") and stored["Key"] != self.prefix and stored["Size"] == 0:
                    yield stored

    def remove(self, keys: list[str]) -> None:
        for first in range(0, len(keys), MOST_KEYS):
            some = [{"Key": key} for key in keys[first : first + MOST_KEYS]]
            answer = self.client.delete_objects(Bucket=self.name, Delete={"Objects": some, "Quiet": True})
            for error in answer.get("Errors", []):
                log.warning("%s stays: %s", error.get("Key"), error.get("Message"))


def _client() -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise SettingsError(
            "leftovers on S3 cannot be removed: boto3 is not installed here.",
            hint="Airflow's amazon provider brings it; or give the bucket a rule AbortIncompleteMultipartUpload",
        ) from error
    # boto3 does not know the first of obstore's two names for it.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT")
    patience = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 6})
    return boto3.client("s3", endpoint_url=endpoint, config=patience)
