"""A table, functions that are mapped to its stream, and the index that they write: what is looked at before a replay."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from opensearchpy import OpenSearch

from local.cloud import Cloud
from searchops.core.bulk.ids import IdRule, IdScheme
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources.model import Recipe
from searchops.core.replay.choice import Dates
from searchops.core.replay.preflight import Clients, Preflight, preflight
from searchops.core.replay.settings import Consumer, Settings
from tests.conftest import aws_client

DAY = "20261103"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DATES = Dates(index="by-day", attribute="day", format="%Y%m%d", timezone="Asia/Tokyo")
BY_DAY = {
    "IndexName": "by-day",
    "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
_numbers = itertools.count(1)


class Place:
    """Made fit for replays, unless a test says otherwise. Without a node where the cloud has none."""

    def __init__(self, cloud: Cloud) -> None:
        self.name = f"looked-at-{next(_numbers)}"
        self.cloud = cloud
        url = cloud.endpoints.get("opensearch")
        self.node: Any = OpenSearch(url, max_retries=0, timeout=30) if url else None
        self.dynamodb = aws_client(cloud, "dynamodb")
        self.functions = aws_client(cloud, "lambda")
        iam = aws_client(cloud, "iam")
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName="simulated", AssumeRolePolicyDocument="{}")
        self._mappings: list[str] = []
        self.stream = ""

    def create(self, *, stream: str = "NEW_AND_OLD_IMAGES", day: str = "S", indexes: Any = (BY_DAY,), **changes: Any) -> str:
        types = {"pk": "S", "sk": "N", "day": day}
        answer = self.dynamodb.create_table(
            **{
                "TableName": self.name,
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                "AttributeDefinitions": [
                    {"AttributeName": name, "AttributeType": type_} for name, type_ in types.items() if indexes or name != "day"
                ],
                "BillingMode": "PAY_PER_REQUEST",
                **({"GlobalSecondaryIndexes": list(indexes)} if indexes else {}),
                **({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": stream}} if stream else {}),
                **changes,
            }
        )
        self.stream = answer["TableDescription"].get("LatestStreamArn", "")
        return self.name

    def create_index(self, **mappings: Any) -> None:
        """An empty index behind an alias of the table's name."""
        body = {
            "settings": {"number_of_shards": 1, "number_of_replicas": 0},
            "mappings": {"properties": {"searchops_replay": {"type": "keyword"}}, **mappings},
            "aliases": {self.name: {}},
        }
        self.node.indices.create(index=f"{self.name}-1", body=body)

    def map(self, *patterns: Any, batch_size: int = 100) -> str:
        """Map a function of the table's name to its stream, with these filters."""
        self.function()
        filters = {"Filters": [{"Pattern": json.dumps(pattern)} for pattern in patterns]}
        mapping = self.functions.create_event_source_mapping(
            EventSourceArn=self.stream,
            FunctionName=self.name,
            StartingPosition="TRIM_HORIZON",
            BatchSize=batch_size,
            **({"FilterCriteria": filters} if patterns else {}),
        )
        self._mappings.append(mapping["UUID"])
        return self.name

    def function(self) -> None:
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as content:
            content.writestr("handler.py", "def handler(event, context): pass")
        self.functions.create_function(
            FunctionName=self.name,
            Runtime="python3.13",
            Role="arn:aws:iam::123456789012:role/simulated",
            Handler="handler.handler",
            Code={"ZipFile": code.getvalue()},
        )

    def put(self, numbers: Any, *, revision: int | None = 5, **attributes: Mapping[str, Any]) -> None:
        values = {"day": {"S": DAY}, "revision": {"N": str(revision)} if revision else {}, **attributes}
        given = {name: value for name, value in values.items() if value}
        items = [{"pk": {"S": f"p{number}"}, "sk": {"N": str(number)}, **given} for number in numbers]
        for first in range(0, len(items), 25):
            requests = [{"PutRequest": {"Item": item}} for item in items[first : first + 25]]
            assert not self.dynamodb.batch_write_item(RequestItems={self.name: requests})["UnprocessedItems"]

    def write(self, numbers: Any, version: int) -> None:
        """Put the documents of items into the index."""
        for number in numbers:
            self.node.index(
                index=self.name,
                id=f"p{number}|{number}",
                body={},
                params={"version": version, "version_type": "external", "refresh": "true"},
            )

    def settings(self, *, indexed: bool = False, scheme: str = "attribute", **changes: Any) -> Settings:
        version = VersionScheme(scheme)
        recipe = Recipe(
            IdRule(IdScheme.ATTRIBUTES, ("pk", "sk")), version, "revision" if version is VersionScheme.ATTRIBUTE else ""
        )
        values: dict[str, Any] = {
            "table": self.name,
            "dates": DATES,
            "consumers": (Consumer(function=self.name),) if self._mappings else (),
            **({"index": self.name, "recipe": recipe} if indexed else {}),
            **changes,
        }
        return Settings(**values)

    def clients(self, **changes: Any) -> Clients:
        return Clients(**{"dynamodb": self.dynamodb, "functions": self.functions, "node": self.node, **changes})

    def look(self, settings: Settings | None = None, **options: Any) -> Preflight:
        clients = options.pop("clients", None) or self.clients()
        return preflight(settings or self.settings(), clients, now=NOW, **options)

    def close(self) -> None:
        for uuid in self._mappings:
            self.functions.delete_event_source_mapping(UUID=uuid)
        if self.node:
            self.node.indices.delete(index=f"{self.name}-1", ignore_unavailable=True)
            self.node.close()
        with contextlib.suppress(self.dynamodb.exceptions.ResourceNotFoundException):
            self.dynamodb.delete_table(TableName=self.name)


def refusing(client: Any, operation: str) -> Any:
    """The client, for whom AWS does not allow an operation: neither moto nor DynamoDB Local has permissions."""
    answer = {
        "Error": {"Code": "AccessDeniedException", "Message": "not authorized"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    client.meta.events.register(
        f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}",
        lambda **_: (SimpleNamespace(status_code=400), answer),
    )
    return client
