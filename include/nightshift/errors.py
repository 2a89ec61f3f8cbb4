"""Every error Nightshift raises on purpose.

::

    NightshiftError
    ├── SpecError                a model spec, or its SQL, that cannot be used
    │   └── EngineNotInstalled   a good spec, whose engine is an extra that is not installed
    ├── SettingsError            an environment variable or a local tool that is missing or wrong
    ├── DataError                data that must not be trained on; never retried
    │   ├── SourceError          a source that cannot be read: missing, truncated, not UTF-8
    │   ├── ValidationFailed     expectations, volume, schema or labels refuse the data
    │   ├── PrepareError         the prepare SQL fails, multiplies rows or loses a column
    │   └── DataNotBlessed       a check of the prepared windows fails: a leak, a shift, an overlap
    ├── ModelError               a model that must not be used
    │   ├── ParityError          the ONNX graph and the trained model disagree
    │   ├── InfraCheckFailed     the model does not load or reproduce its golden rows
    │   └── NotBlessed           a version lacks one of its three blessings, or has a failed one
    ├── StorageError             the object store failed or holds something unexpected; retried
    │   ├── Overtaken            another attempt published first
    │   └── IntegrityError       bytes do not match their recorded digest; never retried
    ├── JobError                 a job died or could not be started; retried
    ├── StackError               the docker-compose stack: a service that is down, ill, or refuses
    └── NightSkipped             nothing to do on this night, by the spec's own words

``retryable`` tells Airflow whether another try can help; ``exit_code`` is how a job says the same
through its process boundary.
"""

from __future__ import annotations

from typing import ClassVar


class NightshiftError(Exception):
    """Base of the tree: a message that names the place, and a hint that says what to do.

    Args:
        message: What was wrong and where (file, line, key, value).
        hint: What to do about it; printed on a line of its own.
    """

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  Hint: {self.hint}" if self.hint else self.message


class SpecError(NightshiftError):
    exit_code = 64


class EngineNotInstalled(SpecError):
    pass


class SettingsError(NightshiftError):
    exit_code = 78


class DataError(NightshiftError):
    exit_code = 65


class SourceError(DataError):
    pass


class ValidationFailed(DataError):
    pass


class PrepareError(DataError):
    pass


class DataNotBlessed(DataError):
    pass


class ModelError(NightshiftError):
    exit_code = 66


class ParityError(ModelError):
    pass


class InfraCheckFailed(ModelError):
    pass


class NotBlessed(ModelError):
    pass


class StorageError(NightshiftError):
    retryable = True
    exit_code = 74


class Overtaken(StorageError):
    pass


class IntegrityError(StorageError):
    retryable = False
    exit_code = 67


class JobError(NightshiftError):
    retryable = True
    exit_code = 75


class StackError(NightshiftError):
    exit_code = 69


class NightSkipped(NightshiftError):
    exit_code = 20
