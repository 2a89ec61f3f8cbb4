"""How Spark reads and writes an object store that speaks S3: Hadoop's s3a.

Where the store is and who may use it comes from the environment of the driver and of each executor, by the
names that every AWS tool knows. No key is ever a setting of Spark.
"""

from __future__ import annotations

import os
from typing import Any

from nightshift.errors import SettingsError

PROVIDER = "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
MACHINE_PROVIDER = "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider"
COMMITTER = "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter"
PROTOCOL = "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol"
# A class of each jar that is not part of Spark's own package.
NEEDED = {
    "hadoop-aws": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "the bundle of AWS SDK 2": PROVIDER,
    "spark-hadoop-cloud": PROTOCOL,
}
# Spark copies keys from the environment into Hadoop's settings, which travel to executors and pages.
COPIED_KEYS = (
    "fs.s3.awsAccessKeyId",
    "fs.s3.awsSecretAccessKey",
    "fs.s3n.awsAccessKeyId",
    "fs.s3n.awsSecretAccessKey",
    "fs.s3a.access.key",
    "fs.s3a.secret.key",
    "fs.s3a.session.token",
)


def path(uri: str) -> str:
    """A URI as Hadoop takes it: ``s3a://`` for ``s3://``."""
    return f"s3a://{uri.removeprefix('s3://')}" if uri.startswith("s3://") else uri


def settings() -> dict[str, str]:
    """How tables are read from and written to S3."""
    return {
        **access(),
        # An upload becomes an object when the job commits, and not before: nothing is copied or renamed.
        "spark.hadoop.fs.s3a.committer.name": "magic",
        "spark.hadoop.fs.s3a.committer.magic.enabled": "true",
        "spark.sql.sources.commitProtocolClass": PROTOCOL,
        "spark.sql.parquet.output.committer.class": COMMITTER,
    }


def is_elsewhere() -> bool:
    """Whether the environment names a store that is not Amazon's."""
    return bool(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))


def access() -> dict[str, str]:
    """Where the store is, who asks, and for how long: an outage of half a minute passes unnoticed, a store
    that is gone is an error within minutes.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    chosen = {
        "fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "fs.s3a.aws.credentials.provider": PROVIDER if endpoint else f"{PROVIDER},{MACHINE_PROVIDER}",
        "fs.s3a.attempts.maximum": "2",
        "fs.s3a.connection.establish.timeout": "15s",
        "fs.s3a.connection.timeout": "30s",
        "fs.s3a.retry.limit": "6",
        "fs.s3a.retry.interval": "500ms",
        **dict.fromkeys(COPIED_KEYS, ""),
    }
    if endpoint:
        chosen["fs.s3a.endpoint"] = endpoint
        chosen["fs.s3a.path.style.access"] = "true"
        chosen["fs.s3a.connection.ssl.enabled"] = str(not endpoint.startswith("http://")).lower()
        chosen["fs.s3a.endpoint.region"] = region or "us-east-1"
    elif region:
        chosen["fs.s3a.endpoint.region"] = region
    return {f"spark.hadoop.{name}": value for name, value in chosen.items()}


def require_jars(jvm: Any) -> None:
    """Raises SettingsError: The JVM lacks a library that s3a needs; the message names it."""
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    # Asked for as files: PySpark recurses without end when a class itself cannot be found.
    missing = [jar for jar, name in NEEDED.items() if loader.getResource(f"{name.replace('.', '/')}.class") is None]
    if missing:
        home = os.environ.get("SPARK_HOME") or "pyspark"
        raise SettingsError(
            f"storage is on S3, and Spark cannot read it without {', '.join(missing)}.",
            hint=f"put the jars into {home}/jars; docs/compute.md says which versions go together",
        )
