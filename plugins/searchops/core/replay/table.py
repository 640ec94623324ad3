"""What DynamoDB says of a table: its keys, indexes, stream and capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from searchops.core.replay.calls import asked
from searchops.core.replay.model import AttributeValue, Key

Item: TypeAlias = Mapping[str, AttributeValue]

ACTIVE = "ACTIVE"
PROVISIONED = "PROVISIONED"
WITH_NEW_IMAGE = ("NEW_IMAGE", "NEW_AND_OLD_IMAGES")
WITH_OLD_IMAGE = ("OLD_IMAGE", "NEW_AND_OLD_IMAGES")


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """A secondary index.

    :param projection: ``ALL``, ``KEYS_ONLY`` or ``INCLUDE``
    :param included: the attributes that INCLUDE adds to the keys of table and index
    :param status: of a local index, ACTIVE: it is as its table is
    :param items: and ``size_bytes``: as DynamoDB counted them some time in the last six hours
    :param write_units: a second, where they are provisioned
    """

    name: str
    is_global: bool
    partition_key: str
    sort_key: str | None
    projection: str
    included: tuple[str, ...] = ()
    status: str = ACTIVE
    items: int = 0
    size_bytes: int = 0
    write_units: int | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.partition_key, self.sort_key) if self.sort_key else (self.partition_key,)

    def is_written_by(self, *attributes: str) -> bool:
        """Whether a change of one of these attributes, none of them a key, is a write of this index too."""
        return self.projection == "ALL" or any(attribute in self.included for attribute in attributes)

    def has(self, item: Item) -> bool:
        """An index is sparse: an item that lacks one of its keys is not in it."""
        return all(key in item for key in self.keys)


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table at one moment.

    :param key_types: ``S``, ``N`` or ``B`` of every attribute that is a key of the table or of an index
    :param stream_arn: of the stream that is on; None where none is
    :param stream_view: ``KEYS_ONLY``, ``NEW_IMAGE``, ``OLD_IMAGE`` or ``NEW_AND_OLD_IMAGES``; "" without a stream
    :param write_units: a second, where they are provisioned
    :param most_write_units: a second, where somebody has set a maximum of an on-demand table
    :param items: and ``size_bytes``: as DynamoDB counted them some time in the last six hours
    :param ttl_attribute: None where nothing expires
    :param replicas: the other Regions of a global table
    """

    name: str
    arn: str
    status: str
    partition_key: str
    sort_key: str | None
    key_types: Mapping[str, str]
    indexes: tuple[IndexFacts, ...] = ()
    stream_arn: str | None = None
    stream_view: str = ""
    billing: str = "PAY_PER_REQUEST"
    write_units: int | None = None
    most_write_units: int | None = None
    items: int = 0
    size_bytes: int = 0
    ttl_attribute: str | None = None
    table_class: str = "STANDARD"
    replicas: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.partition_key, self.sort_key) if self.sort_key else (self.partition_key,)

    @property
    def average_bytes(self) -> float | None:
        """Of an item, as of DynamoDB's last count; None for a table that it counted as empty."""
        return self.size_bytes / self.items if self.items else None

    def index(self, name: str) -> IndexFacts | None:
        return next((index for index in self.indexes if index.name == name), None)

    def key_of(self, item: Item) -> Key:
        return {name: item[name] for name in self.keys}


def read_table(client: Any, name: str) -> TableFacts:
    """
    :param client: boto3's ``dynamodb`` client
    :raises TableMissing: there is none
    :raises NotAllowed: dynamodb:DescribeTable or dynamodb:DescribeTimeToLive is missing; without the latter, expired items would come back
    """
    table = asked(client.describe_table, name, "DescribeTable")["Table"]
    ttl = asked(client.describe_time_to_live, name, "DescribeTimeToLive")
    return facts_of(table, ttl.get("TimeToLiveDescription", {}))


def facts_of(table: Mapping[str, Any], ttl: Mapping[str, Any]) -> TableFacts:
    """
    :param table: TableDescription of the DynamoDB API
    :param ttl: TimeToLiveDescription
    """
    partition_key, sort_key = _keys(table["KeySchema"])
    stream = table.get("StreamSpecification") or {}
    on = bool(stream.get("StreamEnabled"))
    billing = (table.get("BillingModeSummary") or {}).get("BillingMode") or PROVISIONED
    expires = ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return TableFacts(
        name=table["TableName"],
        arn=table["TableArn"],
        status=table["TableStatus"],
        partition_key=partition_key,
        sort_key=sort_key,
        key_types={entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]},
        indexes=(
            *(_index(entry, billing, is_global=True) for entry in table.get("GlobalSecondaryIndexes") or ()),
            *(_index(entry, billing, is_global=False) for entry in table.get("LocalSecondaryIndexes") or ()),
        ),
        stream_arn=table.get("LatestStreamArn") if on else None,
        stream_view=stream.get("StreamViewType", "") if on else "",
        billing=billing,
        write_units=_provisioned(table, billing),
        most_write_units=_maximum(table),
        items=table.get("ItemCount") or 0,
        size_bytes=table.get("TableSizeBytes") or 0,
        ttl_attribute=ttl.get("AttributeName") if expires else None,
        table_class=(table.get("TableClassSummary") or {}).get("TableClass") or "STANDARD",
        replicas=tuple(replica["RegionName"] for replica in table.get("Replicas") or () if replica.get("RegionName")),
    )


def _index(entry: Mapping[str, Any], billing: str, *, is_global: bool) -> IndexFacts:
    partition_key, sort_key = _keys(entry["KeySchema"])
    projection = entry.get("Projection") or {}
    return IndexFacts(
        name=entry["IndexName"],
        is_global=is_global,
        partition_key=partition_key,
        sort_key=sort_key,
        projection=projection.get("ProjectionType", "ALL"),
        included=tuple(projection.get("NonKeyAttributes") or ()),
        status=entry.get("IndexStatus", ACTIVE),
        items=entry.get("ItemCount") or 0,
        size_bytes=entry.get("IndexSizeBytes") or 0,
        write_units=_provisioned(entry, billing) if is_global else None,
    )


def _keys(schema: Any) -> tuple[str, str | None]:
    names = {entry["KeyType"]: entry["AttributeName"] for entry in schema}
    return names["HASH"], names.get("RANGE")


def _provisioned(described: Mapping[str, Any], billing: str) -> int | None:
    units = (described.get("ProvisionedThroughput") or {}).get("WriteCapacityUnits")
    return int(units) if units and billing == PROVISIONED else None


def _maximum(described: Mapping[str, Any]) -> int | None:
    most = (described.get("OnDemandThroughput") or {}).get("MaxWriteRequestUnits")
    return int(most) if most and int(most) > 0 else None  # -1: none
