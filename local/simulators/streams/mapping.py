"""The settings of an event source mapping."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REPORT_FAILURES = "ReportBatchItemFailures"
FOREVER = -1


@dataclass(frozen=True, slots=True)
class StreamMapping:
    """What Lambda does with a stream. ``retries`` and ``max_age_seconds`` may be FOREVER.

    :param function: its ARN
    :param lanes: ParallelizationFactor
    :param filters: patterns as JSON; empty: every record passes
    :param destination: ARN; empty: what is discarded is lost
    """

    uuid: str
    function: str
    stream: str
    start: str = "TRIM_HORIZON"
    batch_size: int = 100
    window_seconds: float = 0
    lanes: int = 1
    report_failures: bool = False
    bisect: bool = False
    retries: int = FOREVER
    max_age_seconds: float = FOREVER
    destination: str = ""
    filters: tuple[str, ...] = ()

    @property
    def function_name(self) -> str:
        return self.function.partition(":function:")[2].partition(":")[0] or self.function

    @property
    def table(self) -> str:
        return table_of(self.stream)

    @classmethod
    def from_configuration(cls, found: Mapping[str, Any]) -> StreamMapping:
        """Read an EventSourceMappingConfiguration; what it lacks has Lambda's default."""

        def get(name: str, default: Any) -> Any:
            value = found.get(name)
            return default if value is None else value

        return cls(
            uuid=found["UUID"],
            function=found["FunctionArn"],
            stream=found["EventSourceArn"],
            start=get("StartingPosition", "TRIM_HORIZON"),
            batch_size=get("BatchSize", 100),
            window_seconds=get("MaximumBatchingWindowInSeconds", 0),
            lanes=get("ParallelizationFactor", 1),
            report_failures=REPORT_FAILURES in get("FunctionResponseTypes", ()),
            bisect=get("BisectBatchOnFunctionError", False),
            retries=get("MaximumRetryAttempts", FOREVER),
            max_age_seconds=get("MaximumRecordAgeInSeconds", FOREVER),
            destination=get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", ""),
            filters=tuple(json.dumps(_pattern(entry)) for entry in get("FilterCriteria", {}).get("Filters", ())),
        )


def _pattern(entry: Mapping[str, Any]) -> Any:
    return json.loads(entry["Pattern"])


def table_of(stream: str) -> str:
    """The table of a stream's ARN, or of a table's name."""
    return stream.partition(":table/")[2].partition("/")[0] or stream
