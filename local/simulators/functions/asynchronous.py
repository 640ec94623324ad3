"""What becomes of an asynchronous invocation that fails: tried again, or handed to the on-failure destination."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from local.simulators.functions.sandbox import Result

FIRST_WAIT_SECONDS, SECOND_WAIT_SECONDS = 60.0, 120.0
DEFAULT_RETRIES, DEFAULT_MAX_AGE_SECONDS = 2, 21_600

Condition = Literal["RetriesExhausted", "EventAgeExceeded"]


@dataclass(frozen=True, slots=True)
class Rules:
    """A function's event-invoke configuration."""

    retries: int = DEFAULT_RETRIES
    max_age_seconds: float = DEFAULT_MAX_AGE_SECONDS
    on_failure: str = ""

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any]) -> Rules:
        """What is not configured has Lambda's default; 0 is a setting."""
        retries, age = configuration.get("MaximumRetryAttempts"), configuration.get("MaximumEventAgeInSeconds")
        return cls(
            DEFAULT_RETRIES if retries is None else retries,
            DEFAULT_MAX_AGE_SECONDS if age is None else age,
            configuration.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", ""),
        )


@dataclass(frozen=True, slots=True)
class Next:
    """How long to wait, in seconds of the service, and what then: another attempt, or giving up."""

    wait_seconds: float
    give_up: Condition | None = None


def after_failure(rules: Rules, attempts: int, age_seconds: float) -> Next:
    """Decide after ``attempts`` failed attempts of an event that has been there for ``age_seconds``."""
    if attempts > rules.retries:
        return Next(0, "RetriesExhausted")
    wait = FIRST_WAIT_SECONDS if attempts == 1 else SECOND_WAIT_SECONDS
    left = max(0.0, rules.max_age_seconds - age_seconds)
    return Next(wait) if wait < left else Next(left, "EventAgeExceeded")


def record(arn: str, event: Any, result: Result, condition: Condition, attempts: int, now: float) -> dict[str, Any]:
    """What a destination gets (developer guide, "Capturing records of Lambda asynchronous invocations", example)."""
    time_ = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "version": "1.0",
        "timestamp": time_,
        "requestContext": {
            "requestId": result.request_id,
            "functionArn": f"{arn}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": result.payload,
    }


@dataclass(slots=True)
class Delivery:
    """An asynchronous invocation; `state` is running, waiting, succeeded, handed over (to the destination) or discarded."""

    request_id: str
    function: str
    state: str = "running"
    attempts: int = 0
    condition: str = ""


class AsynchronousInvocations:
    """Events that are tried until they succeed or their function's rules give them up, one thread each.

    :param invoke: function name, request id, event -> result
    :param rules: of a function, read anew at each decision
    :param hand_over: destination ARN, record
    :param arn: of a function

    ``speed`` may be set at any time; it counts for the waits that begin after that.
    """

    def __init__(
        self,
        invoke: Callable[[str, str, Any], Result],
        rules: Callable[[str], Rules],
        hand_over: Callable[[str, str], None],
        arn: Callable[[str], str],
        speed: float,
    ) -> None:
        self._invoke = invoke
        self._rules = rules
        self._hand_over = hand_over
        self._arn = arn
        self.speed = speed
        self._deliveries: list[Delivery] = []

    def deliveries(self) -> list[dict[str, Any]]:
        return [asdict(delivery) for delivery in list(self._deliveries)]

    def add(self, function: str, request_id: str, event: Any) -> None:
        delivery = Delivery(request_id, function)
        self._deliveries.append(delivery)
        threading.Thread(target=self._deliver, args=(delivery, event), daemon=True).start()

    def _deliver(self, delivery: Delivery, event: Any) -> None:
        began = time.monotonic()
        try:
            while True:
                delivery.state, delivery.attempts = "running", delivery.attempts + 1
                result = self._invoke(delivery.function, delivery.request_id, event)
                if not result.failed:
                    delivery.state = "succeeded"
                    return
                rules = self._rules(delivery.function)
                next_ = after_failure(rules, delivery.attempts, (time.monotonic() - began) * self.speed)
                delivery.state = "waiting"
                time.sleep(next_.wait_seconds / self.speed)
                if next_.give_up:
                    self._give_up(delivery, event, result, rules, next_.give_up)
                    return
        except Exception as error:
            traceback.print_exc()
            delivery.state, delivery.condition = "discarded", f"{type(error).__name__}: {error}"

    def _give_up(self, delivery: Delivery, event: Any, result: Result, rules: Rules, condition: Condition) -> None:
        delivery.condition = condition
        if rules.on_failure:
            told = record(self._arn(delivery.function), event, result, condition, delivery.attempts, time.time())
            self._hand_over(rules.on_failure, json.dumps(told))
        delivery.state = "handed over" if rules.on_failure else "discarded"
