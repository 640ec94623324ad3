"""What a run has to say to people, kept in S3 by the tasks that know it.

One object a task, because several mapped tasks may fail at once: ``reports/<dag>/<run>/<task>[.<map index>].json``. The last try
of a task overwrites the earlier ones. A report holds only what may be shown: no secret, no body of a document.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from searchops.core.errors import Link, SearchOpsError

PREFIX = "reports/"
FORMAT = "searchops.report/1"

# Limits in characters; together they keep every report below MAX_BYTES, which is what is read back.
MAX_TITLE = 500
MAX_REASON = 4_000
MAX_FACTS = 30
MAX_FACT_NAME = 80
MAX_FACT = 300
MAX_LINKS = 10
MAX_LABEL = 80
MAX_URL = 1_000
MAX_ID = 300
MAX_BYTES = 256 * 1024

FAILED = "failed"
SUCCEEDED = "succeeded"
UNREADABLE = "unreadable"
"""The outcome of a report that is there and cannot be used; its reason says why."""

Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """What one task has to say. Longer texts are cut to the limits above, as soon as the report is made.

    ``reason`` is AWS's or the engine's own words, ``links`` are (label, URL) of http or https, ``announce`` False means that a
    person has been told already. ``map_index`` is -1 for a task that is not mapped, as in Airflow. ``at`` is an ISO time.
    """

    dag_id: str
    run_id: str
    task_id: str
    outcome: str
    title: str
    map_index: int = -1
    try_number: int = 1
    reason: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    announce: bool = True
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        for name, limit in _TEXTS.items():
            object.__setattr__(self, name, shorten(getattr(self, name), limit))
        object.__setattr__(self, "facts", _facts(self.facts))
        object.__setattr__(self, "links", _links(self.links))

    @classmethod
    def failure(
        cls, error: BaseException, *, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1
    ) -> Report:
        """The report of a task that ends with ``error``; a ``SearchOpsError`` brings its reason, facts and links."""
        told = error if isinstance(error, SearchOpsError) else SearchOpsError(f"{type(error).__name__}: {error}")
        return cls(
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            map_index=map_index,
            try_number=try_number,
            outcome=FAILED,
            title=str(told) or type(error).__name__,
            reason=told.reason,
            facts=told.facts,
            links=told.links,
            announce=told.announce,
        )

    @property
    def key(self) -> str:
        """Its object in the bucket."""
        return report_key(self.dag_id, self.run_id, self.task_id, self.map_index)


_TEXTS = {
    "dag_id": MAX_ID,
    "run_id": MAX_ID,
    "task_id": MAX_ID,
    "outcome": MAX_LABEL,
    "title": MAX_TITLE,
    "reason": MAX_REASON,
    "at": MAX_LABEL,
}


def shorten(text: str, limit: int) -> str:
    """Cut to ``limit`` characters, the last of which is then an ellipsis; what UTF-8 cannot hold becomes a question mark."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _facts(facts: Mapping[str, Any]) -> dict[str, Fact]:
    kept = {shorten(str(name), MAX_FACT_NAME): _fact(value) for name, value in list(facts.items())[:MAX_FACTS]}
    if len(facts) > MAX_FACTS:
        kept.popitem()
        kept["left out"] = len(facts) - len(kept)
    return kept


def _fact(value: Any) -> Fact:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else str(value)
    return shorten(text, MAX_FACT)


def _links(links: Any) -> tuple[Link, ...]:
    """Half a URL is of no use: one that is too long is dropped, as is one that is no web address."""
    usable = [(shorten(str(label), MAX_LABEL), str(url)) for label, url in links if len(str(url)) <= MAX_URL]
    return tuple((label, url) for label, url in usable if re.match(r"https?://[!-~]+\Z", url))[:MAX_LINKS]


def to_json(report: Report) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(report)}, ensure_ascii=False, allow_nan=False, indent=1).encode()


def from_json(content: bytes) -> Report:
    """Read a report back; names that this version does not know are passed over.

    :raises ValueError: not a report of ours; says what is wrong with it
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON, or cut off: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError(f'not a report of ours: expected a JSON object with "format": "{FORMAT}"')
    known = {item.name: values[item.name] for item in fields(Report) if item.name in values}
    for name, value in known.items():
        if not _fits(name, value):
            raise ValueError(f"not a report of ours: {name} is {shorten(repr(value), 80)}")
    try:
        return Report(**known)
    except TypeError as error:  # a field that has no default is missing
        raise ValueError(f"not a report of ours: {error}") from error


def _fits(name: str, value: Any) -> bool:
    match name:
        case "map_index" | "try_number":
            return isinstance(value, int) and not isinstance(value, bool)
        case "announce":
            return isinstance(value, bool)
        case "facts":
            return isinstance(value, dict)
        case "links":
            return isinstance(value, list) and all(isinstance(link, list) and len(link) == 2 for link in value)
        case _:
            return isinstance(value, str)


def run_prefix(dag_id: str, run_id: str) -> str:
    return f"{PREFIX}{_quote(dag_id)}/{_quote(run_id)}/"


def report_key(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Ids are quoted as in a URL, but with ``!``, which S3 calls safe in keys, for ``%``; run ids hold ``:`` and ``+``.

    The dot of ``group.3`` is quoted as well, or it would read as mapped task 3 of ``group``.
    """
    mapped = f".{map_index}" if map_index >= 0 else ""
    task = re.sub(r"\.(\d+)\Z", r"!2E\1", _quote(task_id))
    return f"{run_prefix(dag_id, run_id)}{task}{mapped}.json"


def task_of(key: str) -> tuple[str, int]:
    """The task id and the map index that ``report_key`` put into a key."""
    name = key.rpartition("/")[2].removesuffix(".json")
    task, map_index = match.groups() if (match := re.fullmatch(r"(.*)\.(\d+)", name, re.ASCII)) else (name, "-1")
    return unquote(task.replace("!", "%")), int(map_index)


def _quote(name: str) -> str:
    return quote(name, safe="").replace("%", "!")


class ReportStore:
    """The reports of a bucket, through a boto3 S3 client."""

    def __init__(self, s3_client: Any, bucket: str) -> None:
        self._s3 = s3_client
        self._bucket = bucket

    def write(self, report: Report) -> str:
        """Put a report, over an earlier one of the same task.

        :return: its URI
        """
        self._s3.put_object(Bucket=self._bucket, Key=report.key, Body=to_json(report), ContentType="application/json")
        return f"s3://{self._bucket}/{report.key}"

    def read_run(self, dag_id: str, run_id: str, *, max_seconds: float = math.inf) -> list[Report]:
        """All reports of a run, in the order of their keys.

        One that is too large, not ours, or not reached within ``max_seconds`` comes as a report with outcome ``unreadable``.

        :raises botocore.exceptions.ClientError, BotoCoreError: the bucket cannot be listed
        """
        end = time.monotonic() + max_seconds
        return [self._read(dag_id, run_id, key, size, end) for key, size in self._objects(run_prefix(dag_id, run_id))]

    def _objects(self, prefix: str) -> Iterator[tuple[str, int]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                yield entry["Key"], entry["Size"]

    def _read(self, dag_id: str, run_id: str, key: str, size: int, end: float) -> Report:
        task_id, map_index = task_of(key)
        unreadable = Report(
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            map_index=map_index,
            outcome=UNREADABLE,
            title="the report could not be read",
        )
        if size > MAX_BYTES:
            return replace(unreadable, reason=f"{key} has {size} bytes, a report has at most {MAX_BYTES}")
        if time.monotonic() > end:
            return replace(unreadable, reason=f"{key} was not reached in time")
        try:
            report = from_json(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read(MAX_BYTES))
        except Exception as error:  # whatever is wrong with one report, the others are still told
            return replace(unreadable, reason=f"{key}: {error}")
        if report.key != key:
            return replace(unreadable, reason=f"{key} holds the report of {report.task_id} in {report.run_id}")
        return report
