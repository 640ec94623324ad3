"""A simulator's surroundings in which a test moves the clock, answers for the node and looks into the buckets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any

from local.simulators.firehose.documents import Answer, S3Object
from local.simulators.firehose.service import FirehoseService
from local.simulators.firehose.settings import Settings

ROLE = "arn:aws:iam::123456789012:role/firehose"
S3 = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::backup", "Prefix": "overflow/"}
DESTINATION = {
    "RoleARN": ROLE,
    "DomainARN": "arn:aws:es:ap-northeast-1:123456789012:domain/search",
    "IndexName": "landing",
    "IndexRotationPeriod": "NoRotation",
    "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
    "RetryOptions": {"DurationInSeconds": 300},
    "S3Configuration": S3,
}


def answer_all(status: int, **error: Any) -> Callable[[list[dict[str, Any]]], Answer]:
    """A node that gives every document of a bulk request the same status."""
    item = {"status": status} | ({"error": error} if error else {})
    return lambda documents: Answer(200, json.dumps({"items": [{"index": item} for _ in documents]}).encode())


class World:
    """Time, the node and S3. ``answers`` are used up one a bulk request; then every document is created."""

    def __init__(self, **settings: Any) -> None:
        self.now = 1_750_000_000.0
        self.answers: list[Callable[[list[dict[str, Any]]], Answer]] = []
        self.requests: list[list[tuple[dict[str, Any], dict[str, Any]]]] = []
        self.objects: list[S3Object] = []
        self.s3_is_down = False
        self.service = FirehoseService(self, self, Settings(**settings), lambda: self.now, deliver=False)

    def bulk(self, body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines()]
        documents = [(action["index"], source) for action, source in zip(lines[::2], lines[1::2], strict=True)]
        self.requests.append(documents)
        answer = self.answers.pop(0) if self.answers else answer_all(201)
        return answer([source for _, source in documents])

    def put(self, written: S3Object) -> None:
        if self.s3_is_down:
            raise OSError("S3 is down")
        self.objects.append(written)

    def create(self, name: str = "overflow", **destination: Any) -> str:
        configuration = DESTINATION | destination
        self.service.create_delivery_stream(
            {"DeliveryStreamName": name, "AmazonopensearchserviceDestinationConfiguration": configuration}
        )
        self.now += 10
        return name

    def pass_time(self, seconds: float, name: str = "overflow") -> None:
        """Let a stream do what is due until then, at the moments at which it is due."""
        (delivery,) = self.service.deliveries(name)
        end = self.now + seconds
        while (due := delivery.step(self.now)) <= end:
            self.now = max(self.now, due)
        self.now = end

    def state(self, name: str = "overflow") -> dict[str, Any]:
        return next(row for row in self.service.states() if row["name"] == name)

    def put_documents(self, *documents: Any, name: str = "overflow") -> None:
        told = self.service.put(name, [json.dumps(document).encode() for document in documents])
        assert all("RecordId" in row for row in told)

    def indexed(self) -> list[dict[str, Any]]:
        """The documents that reached the node, in their order."""
        return [source for documents in self.requests for _, source in documents]

    def lines(self) -> Sequence[dict[str, Any]]:
        """What is written in the objects."""
        bodies = [gzip.decompress(row.body) if row.key.endswith(".gz") else row.body for row in self.objects]
        return [json.loads(line) for body in bodies for line in body.splitlines()]
