"""The AWS account, through the hooks of Airflow's Amazon provider; its errors in our words.

Airflow's interpreter only. The provider is imported by what runs, not by what is parsed.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from nightshift.errors import JobError, NightshiftError, SettingsError

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.emr import EmrHook

log = logging.getLogger(__name__)

T = TypeVar("T")
# Seconds for which AWS may refuse or be away before a task gives up; Airflow tries again later.
PATIENCE = 240.0
PAUSE = 2.0
# AWS is busy, or not well: it names this in many ways.
PASSING = {
    "BadGateway",
    "GatewayTimeout",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ServerException",
    "ServiceUnavailable",
    "SlowDown",
    "TooManyRequestsException",
}
PASSING_FAMILIES = ("Internal", "RequestLimit", "RequestThrottled", "RequestTimeout", "Throttl", "5")
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
# S3 answers a HEAD request with a status and no words: 400 is what expired credentials get there.
WORDLESS = {"HeadBucket", "HeadObject"}
# Whoever signed is nobody here, by the services' various names for it: waiting does not help, nor does a policy.
UNKNOWN_CALLER = {
    "AuthFailure",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
POLICY = "docs/emr.md says what the orchestrator's policy must allow"
CONNECTION = (
    "the Airflow connection NIGHTSHIFT_EMR_CONNECTION (aws_default) names credentials and region; AWS_REGION and the "
    "machine's role do without it"
)
NO_RETRIES = {"total_max_attempts": 1, "mode": "standard"}


class Refused(SettingsError):
    """AWS refuses, and will refuse again.

    Args:
        code: AWS's code for it.
        message: What was wanted, and AWS's words.
        hint: What to do about it.
    """

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Account:
    """One AWS account and region.

    Args:
        connection: Airflow connection id.
        patience: For how many seconds a call is repeated that AWS throttles or does not answer.
    """

    def __init__(self, connection: str, *, patience: float = PATIENCE) -> None:
        self.connection = connection
        self._patience = patience
        self._hook: EmrHook | None = None
        self._clients: dict[str, Any] = {}

    @property
    def hook(self) -> EmrHook:
        """The provider's hook for EMR."""
        if self._hook is None:
            from airflow.providers.amazon.aws.hooks.emr import EmrHook

            self._hook = EmrHook(aws_conn_id=self.connection, emr_conn_id=None)
        return self._hook

    @property
    def region(self) -> str:
        return str(self.call("find the region", lambda: self.hook.conn.meta.region_name))

    def once(self) -> EmrHook:
        """A hook that sends every request once: for what must not be done twice when an answer is lost."""
        from airflow.providers.amazon.aws.hooks.emr import EmrHook
        from botocore.config import Config

        return EmrHook(aws_conn_id=self.connection, emr_conn_id=None, config=Config(retries=NO_RETRIES))

    def client(self, service: str, *, retries: Mapping[str, Any] | None = None) -> Any:
        """A client of another service, with the same credentials."""
        if retries is None and service in self._clients:
            return self._clients[service]
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        from botocore.config import Config

        config = Config(retries=dict(retries)) if retries else None
        made = AwsBaseHook(aws_conn_id=self.connection, client_type=service, config=config).conn
        if retries is None:
            self._clients[service] = made
        return made

    def call(self, what: str, request: Callable[[], T]) -> T:
        """Do something that may be done again without harm, for as long as AWS is only busy, or away.

        Args:
            what: What is wanted, for the message: ``list the clusters``.
            request: Does it; is called again with fresh credentials where the old ones have expired.

        Raises:
            Refused: AWS refuses, and will refuse again.
            SettingsError: There are no credentials.
            JobError: It was busy or away for too long.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        began = time.monotonic()
        while True:
            try:
                return request()
            except (BotoCoreError, ClientError) as error:
                explained = in_our_words(error, what)
                if not explained.retryable or time.monotonic() - began >= self._patience:
                    raise explained from error
                log.warning("%s; trying again", explained.message)
                self._hook, self._clients = None, {}  # the next ones ask for credentials again
                time.sleep(PAUSE)


def in_our_words(error: Exception, what: str) -> NightshiftError:
    """AWS's error as one of ours: one that may pass is retryable.

    Args:
        error: An error of botocore.
        what: What was wanted.
    """
    from botocore.exceptions import ClientError, ParamValidationError

    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        if code == "400" and error.operation_name in WORDLESS:
            code = "ExpiredToken"
        return of_code(code, str(told.get("Message", "")), what)
    if wrong := unknown_region(error):
        return SettingsError(f"could not {what}: there is no region {wrong}: {error}", hint=CONNECTION)
    if may_pass(error):
        return JobError(f"could not {what}: AWS did not answer: {error}")
    hint = None if isinstance(error, ParamValidationError) else CONNECTION
    return SettingsError(f"could not {what}: {error}", hint=hint)


def may_pass(error: Exception) -> bool:
    """Whether an error that is not AWS's answer is of the network, or of whoever lends credentials."""
    from botocore import exceptions

    return isinstance(
        error,
        exceptions.ConnectionError
        | exceptions.HTTPClientError
        | exceptions.IncompleteReadError
        | exceptions.ChecksumError
        | exceptions.FlexibleChecksumError
        | exceptions.CredentialRetrievalError
        | exceptions.MetadataRetrievalError
        | exceptions.WaiterError,
    )


def unknown_region(error: Exception) -> str | None:
    """The region in the name of a server of AWS that nobody knows, if botocore knows of no such region."""
    from boto3.session import Session
    from botocore.exceptions import EndpointConnectionError

    if not isinstance(error, EndpointConnectionError):
        return None
    host = urlsplit(error.kwargs["endpoint_url"]).hostname or ""
    named = re.fullmatch(r"[a-z0-9.-]+\.([a-z]+-[a-z-]+-\d+)\.amazonaws\.com(\.cn)?", host)
    if named is None:
        return None
    session = Session()
    partitions = session.get_available_partitions()
    known = {region for one in partitions for region in session.get_available_regions("ec2", partition_name=one)}
    return None if named[1] in known else named[1]


def of_code(code: str, message: str, what: str) -> NightshiftError:
    """The same, of an error's code and message."""
    told = f"could not {what}: {message or code} ({code})"
    if code in EXPIRED:
        return JobError(told, hint="the credentials ran out; a role that Airflow can renew by itself does not")
    if code in PASSING or code.startswith(PASSING_FAMILIES):
        return JobError(told)
    if code in UNKNOWN_CALLER:
        return Refused(code, told, hint=CONNECTION)
    if code in DENIED or code in ("403", "401"):
        return Refused(code, told, hint=POLICY)
    return Refused(code, told)


def tags_of(resource: Mapping[str, Any]) -> dict[str, str]:
    """Tags as AWS lists them, as a mapping."""
    return {tag["Key"]: tag.get("Value", "") for tag in resource.get("Tags", [])}
