"""The one Spark session factory: same settings everywhere, so that a night gives the same bytes everywhere."""

from nightshift.spark.configuration import configuration
from nightshift.spark.session import session, submitted_to

__all__ = ["configuration", "session", "submitted_to"]
