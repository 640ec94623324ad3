"""Algorithms that the same harness can be pointed at, behind one set of verbs."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Protocol
from unittest.mock import patch

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyItemAlreadyExistsError
from aws_lambda_powertools.utilities.idempotency.persistence import base, datarecord, dynamodb

from searchops.core.errors import TransientError
from searchops.core.idempotency.errors import ClaimLost, FailedBefore, InProgress, PayloadMismatch
from searchops.core.idempotency.guard import Claim, Completed, Guard

LEASE = timedelta(seconds=60)
KEEP = timedelta(seconds=1000)
NAMESPACE = "test"


@dataclass(frozen=True)
class Done:
    result: Any


class Busy(Exception):
    """Another owner works on it."""


class Refused(Exception):
    """It failed before, or the payload is another."""


class Lost(Exception):
    """The owner is told that it has been followed by another."""


class Unknown(Exception):
    """No answer: it may have happened or not."""


class Held(Protocol):
    """A claim that was granted; ``fence`` is None where the algorithm has none."""

    fence: int | None

    def complete(self, result: Any) -> Any: ...

    def fail(self, reason: str) -> None: ...

    def release(self) -> None: ...

    def extend(self) -> None: ...


class Worker(Protocol):
    def claim(self, key: str, payload: Any) -> Held | Done: ...

    def reset(self, key: str) -> bool: ...


class GuardWorker:
    """Ours."""

    def __init__(self, client: Any, clock: Callable[[], float]) -> None:
        self._guard = Guard(client, table="claims", namespace=NAMESPACE, lease=LEASE, keep=KEEP, clock=clock)

    def claim(self, key: str, payload: Any) -> Held | Done:
        found = _told(lambda: self._guard.claim(key, payload))
        return Done(found.result) if isinstance(found, Completed) else GuardClaim(found)

    def reset(self, key: str) -> bool:
        return bool(_told(lambda: self._guard.reset(key)))


class GuardClaim:
    def __init__(self, claim: Claim) -> None:
        self.fence: int | None = claim.fence
        self._claim = claim

    def complete(self, result: Any) -> Any:
        return _told(lambda: self._claim.complete(result))

    def fail(self, reason: str) -> None:
        _told(lambda: self._claim.fail(reason))

    def release(self) -> None:
        _told(self._claim.release)

    def extend(self) -> None:
        _told(self._claim.extend)


def _told(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except InProgress as error:
        raise Busy from error
    except (FailedBefore, PayloadMismatch) as error:
        raise Refused from error
    except ClaimLost as error:
        raise Lost from error
    except TransientError as error:
        raise Unknown from error


class PowertoolsWorker:
    """The persistence layer of aws-lambda-powertools, called as its `IdempotencyHandler` does, with the time of the test."""

    def __init__(self, client: Any, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._layer = DynamoDBPersistenceLayer("claims", boto3_client=client)
        self._layer.configure(IdempotencyConfig(expires_after_seconds=int(KEEP.total_seconds())), function_name="test")

    def claim(self, key: str, payload: Any) -> Held | Done:
        try:
            self.at_its_time(lambda: self._layer.save_inprogress({"key": key}, int(LEASE.total_seconds() * 1000)))
        except IdempotencyItemAlreadyExistsError as error:
            record = error.old_data_record
            if self.at_its_time(lambda: record.status) == "COMPLETED":
                return Done(record.response_json_as_dict())
            raise Busy from error
        return PowertoolsClaim(self, self._layer, {"key": key})

    def reset(self, key: str) -> bool:
        return False

    def at_its_time(self, call: Callable[[], Any]) -> Any:
        now = datetime.datetime.fromtimestamp(self._clock())  # noqa: DTZ006 - the library reads its clock without a zone
        fake = SimpleNamespace(datetime=SimpleNamespace(now=lambda: now), timedelta=timedelta)
        with patch.object(base, "dt", fake), patch.object(dynamodb, "dt", fake), patch.object(datarecord, "dt", fake):
            return call()


class PowertoolsClaim:
    fence: int | None = None

    def __init__(self, worker: PowertoolsWorker, layer: DynamoDBPersistenceLayer, data: dict[str, Any]) -> None:
        self._worker = worker
        self._layer = layer
        self._data = data

    def complete(self, result: Any) -> Any:
        self._worker.at_its_time(lambda: self._layer.save_success(self._data, result))
        return result

    def release(self) -> None:
        self._worker.at_its_time(lambda: self._layer.delete_record(self._data, RuntimeError()))

    def fail(self, reason: str) -> None:
        self.release()

    def extend(self) -> None:
        """There is none."""
