"""How long AWS may say nothing of use, and how long the logs of a failed step are waited for."""

from __future__ import annotations

import gzip
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from nightshift.errors import JobError, NightshiftError, SettingsError
from nightshift_airflow.compute.emr import driver_log, waiting
from nightshift_airflow.compute.emr.account import in_our_words, of_code
from nightshift_airflow.compute.emr.waiting import Patience, event, resumed

THROTTLED = JobError("could not wait: Rate exceeded (ThrottlingException)")
DENIED = SettingsError("could not wait: not authorized (AccessDeniedException)")
UNKNOWN = SettingsError("could not wait: Cluster id 'j-1' is not valid. (InvalidRequestException)")


class FakeTime(SimpleNamespace):
    """A clock that only sleeping moves."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(waiting, "time", fake)
    monkeypatch.setattr(driver_log, "time", fake)
    return fake


def test_what_passes_is_borne_for_a_while_and_not_for_ever(clock: FakeTime) -> None:
    patience = Patience("wait", seconds=60)
    for _ in range(6):
        patience.bear(THROTTLED)
        clock.sleep(10)
    with pytest.raises(JobError, match="Rate exceeded"):
        patience.bear(THROTTLED)


def test_a_word_of_use_makes_patience_new(clock: FakeTime) -> None:
    patience = Patience("wait", seconds=60)
    for _ in range(50):
        patience.bear(THROTTLED)
        clock.sleep(50)
        patience.relax()


def test_a_refusal_is_not_borne_at_all(clock: FakeTime) -> None:
    with pytest.raises(SettingsError, match="not authorized"):
        Patience("wait").bear(DENIED)


def test_what_is_new_may_be_unknown_and_what_is_old_may_not(clock: FakeTime) -> None:
    patience = Patience("wait")
    patience.bear(UNKNOWN)
    clock.sleep(waiting.NEW_SECONDS)
    with pytest.raises(SettingsError, match="is not valid"):
        patience.bear(UNKNOWN)


@pytest.mark.parametrize("error", [THROTTLED, DENIED])
def test_a_trigger_tells_its_error_and_whether_it_may_pass(error: NightshiftError) -> None:
    with pytest.raises(NightshiftError, match="could not wait") as caught:
        resumed(event({"a": 1}, None, error))
    assert caught.value.retryable == error.retryable
    assert resumed(event({}, "failed", None)) == "failed"


class Logs:
    """An account whose logs come after some looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int, **texts: bytes) -> None:
        self.looks = 0

        def get(_: Any, uri: str) -> bytes | None:
            self.looks += 1
            return texts.get(uri.rpartition("/")[2].split(".")[0]) if self.looks > after else None

        monkeypatch.setattr(driver_log, "get", get)


def test_the_last_lines_of_the_driver_without_sparks_own(clock: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    spark = "26/11/20 02:00:00 INFO SparkContext: Running\n" * 5
    told = "".join(f"line {number}\n" for number in range(100))
    text = gzip.compress(f"{spark}{told}java.lang.OutOfMemoryError: Java heap space\n".encode())
    Logs(monkeypatch, 6, stderr=text, stdout=gzip.compress(b"02:00:00 ERROR train: no\n"))
    words = driver_log.last_words(SimpleNamespace(), "s3://logs/x", wait_s=60)  # type: ignore[arg-type]
    assert words[-2:] == ["stderr: java.lang.OutOfMemoryError: Java heap space", "stdout: 02:00:00 ERROR train: no"]
    assert not [line for line in words if "INFO" in line]
    assert len(words) == driver_log.MOST_LINES + 1


def test_logs_that_never_come_are_waited_for_so_long_and_no_longer(
    clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    Logs(monkeypatch, 10_000)
    assert driver_log.last_words(SimpleNamespace(), "s3://logs/x", wait_s=360) == []  # type: ignore[arg-type]
    assert clock.now == pytest.approx(1360)


def test_a_damaged_log_is_no_error(clock: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    Logs(monkeypatch, 0, stderr=b"not gzip")
    assert driver_log.last_words(SimpleNamespace(), "s3://x", wait_s=0) == ["stderr: this log is damaged"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        ("ThrottlingException", True),
        ("Throttling", True),
        ("RequestLimitExceeded", True),
        ("InternalFailure", True),
        ("InternalServerException", True),
        ("503", True),
        ("SlowDown", True),
        ("ExpiredTokenException", True),
        ("RequestExpired", True),
        ("UnrecognizedClientException", False),
        ("400", False),
        ("AccessDeniedException", False),
        ("ValidationException", False),
        ("InvalidRequestException", False),
        ("404", False),
    ],
)
def test_what_of_awss_errors_may_pass(code: str, passes: bool) -> None:
    assert of_code(code, "words", "do this").retryable == passes
    assert "could not do this: words" in of_code(code, "words", "do this").message


@pytest.mark.parametrize(
    "code",
    [
        *("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure"),
        *("SignatureDoesNotMatch", "InvalidSignatureException"),
    ],
)
def test_keys_that_nobody_knows_are_of_the_connection_and_not_of_a_policy(code: str) -> None:
    error = of_code(code, "words", "do this")
    assert not error.retryable
    assert "NIGHTSHIFT_EMR_CONNECTION" in str(error)
    assert "policy" not in str(error)


@pytest.mark.parametrize(("operation", "passes"), [("HeadBucket", True), ("HeadObject", True), ("RunJobFlow", False)])
def test_only_s3_says_400_of_credentials_that_ran_out(operation: str, passes: bool) -> None:
    error = ClientError({"Error": {"Code": "400", "Message": "Bad Request"}}, operation)
    assert in_our_words(error, "do this").retryable == passes


def unreachable(host: str) -> Exception:
    return exceptions.EndpointConnectionError(endpoint_url=f"https://{host}/")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (unreachable("elasticmapreduce.us-east-1.amazonaws.com"), True),
        (unreachable("elasticmapreduce.cn-north-1.amazonaws.com.cn"), True),
        (unreachable("iam.amazonaws.com"), True),
        (unreachable("some-bucket-1.s3.amazonaws.com"), True),
        (unreachable("127.0.0.1:5005"), True),
        (unreachable("elasticmapreduce.us-eest-1.amazonaws.com"), False),
        (exceptions.ReadTimeoutError(endpoint_url="https://x/"), True),
        (exceptions.MetadataRetrievalError(error_msg="no"), True),
        (exceptions.NoCredentialsError(), False),
        (exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), False),
        (exceptions.InvalidRegionError(region_name="us east 1"), False),
        (exceptions.UnauthorizedSSOTokenError(), False),
    ],
)
def test_what_is_no_answer_of_aws(error: Exception, passes: bool) -> None:
    """Of the network it may pass; of the connection's settings it will not, and the message says where they are."""
    told = in_our_words(error, "do this")
    assert told.retryable == passes
    assert ("NIGHTSHIFT_EMR_CONNECTION" in str(told)) != passes


def test_a_region_that_is_mistyped_is_named() -> None:
    told = in_our_words(unreachable("elasticmapreduce.us-eest-1.amazonaws.com"), "list the clusters")
    assert told.message.startswith("could not list the clusters: there is no region us-eest-1: Could not connect")


def test_a_parameter_that_cannot_be_sent_is_not_of_the_connection() -> None:
    told = in_our_words(exceptions.ParamValidationError(report="Invalid bucket name"), "do this")
    assert (told.retryable, told.hint) == (False, None)
