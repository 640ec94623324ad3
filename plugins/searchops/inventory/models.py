"""The entries of the inventory: as they stand in the file (``…Entry``) and as the DAGs get them.

An object that a DAG gets is complete: defaults are applied, names are resolved, and a domain carries its packages and indexes.
Each goes through JSON and back (``Domain.model_validate(domain.model_dump(mode="json"))``), so it can be an operator's argument.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from searchops.inventory.types import (
    Bucket,
    ConnectionId,
    Cron,
    DateFormat,
    DeliveryStream,
    Destination,
    DomainName,
    Duration,
    EventSource,
    Flag,
    FunctionName,
    IndexName,
    Key,
    Marker,
    PackageId,
    PackageName,
    PipelineName,
    ProjectPath,
    Qualifier,
    Region,
    Source,
    SubPipelineName,
    TableIndexName,
    TableName,
    Text,
    TimeZone,
    format_duration,
)

Kind = Literal["synonyms", "kuromoji_user_dictionary", "stopwords"]
Scheme = Literal["attribute", "once", "sequence", "ingestion", "none"]
Deletes = Literal["tombstone", "immediate", "never"]

# Design: "Version, id and deletes of an index". The first of each is what counts when an entry says nothing.
DELETES: dict[Scheme, tuple[Deletes, ...]] = {
    "attribute": ("tombstone", "immediate", "never"),
    "sequence": ("tombstone", "immediate", "never"),
    "once": ("never",),
    "ingestion": ("immediate",),
    "none": ("immediate", "never"),
}
HANDED_OVER: tuple[Scheme, ...] = ("attribute", "sequence", "once")
WRITING = ("id", "version", "deletes", "tombstone_days", "hand_over")
"""The fields of an index that mean nothing where nobody writes it."""
TOMBSTONE_DAYS = 8
"""A week, and a day for a person: longer than an event waits in a queue of failures that somebody looks at."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Defaults(Model):
    """What holds for every entry that does not say otherwise."""

    region: Region | None = Field(default=None, description="AWS Region of the domains.")
    aws_conn_id: ConnectionId = Field(default="aws_default", description="Airflow connection for AWS.")
    slack_conn_id: ConnectionId = Field(
        default="slack_default", description="Airflow connection (Slack webhook) that hears of failures."
    )
    bucket: Bucket | None = Field(
        default=None,
        description="S3 bucket for published dictionaries and reports; in the Region of the packages, without SSE-KMS.",
    )
    claims_table: TableName = Field(
        default="searchops-claims", description="DynamoDB table of the claims; the DAG `searchops_setup` makes it."
    )


class Home(Defaults):
    """Where searchops keeps what it knows, for entries that can't do without the bucket."""

    bucket: Bucket


class PackageEntry(Model):
    """One dictionary and the custom package that carries it. Packages are regional; several domains may use one."""

    package_id: PackageId | None = Field(default=None, description="Id of a package that exists.")
    name: PackageName | None = Field(
        default=None, description="Name of a package, made when there is none. Without name and package_id it is the entry's key."
    )
    kind: Kind = Field(description="What the file holds.")
    source: Source = Field(description="The file: a path inside the project or s3://bucket/key.")
    on_drift: Literal["fail", "overwrite"] = Field(
        default="fail",
        description="What to do when somebody else has published a newer version: fail the run, or publish over it.",
    )

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if self.package_id is not None and self.name is not None:
            raise ValueError("package_id and name are two ways to name one package; keep one of them")
        return self


class Package(PackageEntry):
    """A package as a DAG gets it: exactly one of ``package_id`` and ``name`` is set."""

    key: Key
    source_path: Path | None
    """Absolute path of a local source; None where ``source`` is an S3 URI. Nobody has looked whether the file is there."""

    @property
    def pool(self) -> str:
        """Airflow pool that keeps publishers of this package apart."""
        return f"package_{self.key}"


class Probe(Model):
    """A text whose tokens, by a named analyzer of the index, have to contain the given ones."""

    text: Text = Field(description="What somebody searches for.")
    analyzer: Text = Field(description="Name of an analyzer of the index.")
    contains: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="Tokens that have to be among those of the text."
    )


class Id(Model):
    """How a document's id is made: from attributes, from the input position (object key, ETag, row) or from the content."""

    scheme: Literal["attributes", "position", "content"] = Field(
        default="attributes", description="What the id is made of; content only where equal documents are one document."
    )
    attributes: tuple[Text, ...] = Field(
        default=(), description="Names of the attributes, in order; two make pk|sk as Ingestion does."
    )

    @model_validator(mode="after")
    def _attributes_fit(self) -> Self:
        if self.scheme == "attributes" and not self.attributes:
            raise ValueError('expected attributes: [pk, sk], or scheme "position" or "content"')
        if self.scheme != "attributes" and self.attributes:
            raise ValueError(f'attributes have no part in scheme "{self.scheme}"; leave one of the two out')
        if len(set(self.attributes)) != len(self.attributes):
            raise ValueError("an attribute is named twice")
        return self


class Version(Model):
    """Which of two writes of a document is the newer one."""

    scheme: Scheme = Field(description="What tells the newer of two writes.")
    attribute: Text | None = Field(
        default=None, description="For attribute: a whole number that every writer of the item increases."
    )
    reason: Text | None = Field(default=None, description="For none: why nothing tells old from new.")

    @model_validator(mode="after")
    def _fits_scheme(self) -> Self:
        for field, scheme in (("attribute", "attribute"), ("reason", "none")):
            given = getattr(self, field) is not None
            if given != (self.scheme == scheme):
                wanted = "needs" if self.scheme == scheme else "takes no"
                raise ValueError(f'scheme "{self.scheme}" {wanted} {field}')
        return self


class HandOver(Model):
    """Where documents go that the cluster does not take in time."""

    firehose: DeliveryStream | None = Field(default=None, description="Firehose stream; without one they go to the S3 spool.")
    patience: Duration = Field(description="How long a document is tried before it is handed over.")
    buffer_mib: int = Field(
        default=5,
        strict=True,
        ge=1,
        le=100,
        description="MiB that the stream gathers before it delivers; no effect without firehose.",
    )
    buffer_interval: Duration = Field(
        default=timedelta(minutes=1),
        description="It delivers after this time at the latest: 1s to 15m; no effect without firehose.",
    )

    @model_validator(mode="after")
    def _buffer_fits(self) -> Self:
        if self.buffer_interval > timedelta(minutes=15):
            raise ValueError(f"buffer_interval is 1s to 15m, found {format_duration(self.buffer_interval)}")
        return self


class IndexEntry(Model):
    """An index, by the alias (or name) that applications use."""

    domain: Key = Field(description="Key of the domain that holds the index.")
    body: ProjectPath | None = Field(
        default=None, description="No effect yet. JSON file with settings and mappings, to create or rebuild the index."
    )
    on_search_time_use: Literal["report", "reopen"] = Field(
        default="report",
        description="A dictionary that only searching uses but that is not updateable: report it, or close and open the index.",
    )
    on_index_time_use: Literal["rebuild", "reopen"] = Field(
        default="rebuild",
        description="A dictionary that indexing uses: ask for a rebuild, or close and open and leave old documents their tokens.",
    )
    id: Id | None = Field(default=None, description="Needed where a load, a consumer, a replay or a pipeline writes the index.")
    version: Version | None = Field(
        default=None, description="Needed where a load, a consumer, a replay or a pipeline writes the index."
    )
    deletes: Deletes | None = Field(default=None, description="Without it: what fits the version scheme.")
    tombstone_days: int | None = Field(
        default=None,
        strict=True,
        ge=2,
        le=36_500,
        description=f"Days after which a tombstone is swept, once nothing older is under way; without it {TOMBSTONE_DAYS}.",
    )
    hand_over: HandOver | None = Field(
        default=None,
        description="Where documents go that the cluster does not take in time; without it a load waits, then fails and goes on later.",
    )
    probes: tuple[Probe, ...] = Field(default=(), description="Searches that have to work after every dictionary sync.")
    queries: ProjectPath | None = Field(
        default=None, description="No effect yet. YAML file with the searches that a preview compares."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if problems := [*_scheme_problems(self), *_hand_over_problems(self)]:
            raise ValueError("; ".join(problems))
        return self


def _scheme_problems(entry: IndexEntry) -> list[str]:
    if entry.version is None or entry.id is None:
        given = [field for field in WRITING if getattr(entry, field) is not None]
        return [f"{', '.join(given)} given, but not both id and version; an index that is written needs the two"] if given else []
    scheme, problems = entry.version.scheme, []
    deletes = entry.deletes or DELETES[scheme][0]
    if deletes not in DELETES[scheme]:
        expected = " or ".join(DELETES[scheme])
        problems.append(f'deletes "{deletes}" does not go with version scheme "{scheme}"; expected {expected}')
    if entry.tombstone_days is not None and deletes != "tombstone":
        problems.append(f'tombstone_days goes with deletes "tombstone" only, found "{deletes}"')
    if scheme == "ingestion" and "reopen" in (entry.on_search_time_use, entry.on_index_time_use):
        problems.append('an index that an Ingestion pipeline writes is never closed: no "reopen" with version scheme "ingestion"')
    return problems


def _hand_over_problems(entry: IndexEntry) -> list[str]:
    if entry.hand_over is None or entry.version is None:
        return []
    scheme = entry.version.scheme
    if scheme not in HANDED_OVER:
        return [
            f'nothing can be handed over under version scheme "{scheme}" (only {", ".join(HANDED_OVER)}); leave hand_over out'
        ]
    if (entry.deletes or DELETES[scheme][0]) == "immediate":
        return ['a late write would bring a deleted document back: hand_over needs deletes "tombstone" or "never"']
    if scheme == "sequence" and entry.hand_over.firehose:
        return ['under version scheme "sequence" documents are handed over to the spool; leave firehose out']
    return []


class Index(IndexEntry):
    """An index as a DAG gets it. ``deletes`` is set wherever ``version`` is, ``tombstone_days`` wherever deletes are tombstones."""

    name: IndexName
    body_path: Path | None
    queries_path: Path | None


class WrittenIndex(Model):
    """An index that loads, functions or streams write, as their DAGs get it: with the place of its domain, without the dictionaries."""

    name: IndexName
    domain: Key
    domain_name: DomainName
    opensearch_conn_id: ConnectionId
    region: Region
    aws_conn_id: ConnectionId
    slack_conn_id: ConnectionId
    bucket: Bucket
    """That of the domain, reached with ``region`` and ``aws_conn_id``: spool, manifests, ledgers, reports."""
    home: Home
    """The defaults: where ``claims_table`` is. Its bucket is that of the domain."""
    body_path: Path | None
    id: Id
    version: Version
    deletes: Deletes
    tombstone_days: int | None
    hand_over: HandOver | None


class Preview(Model):
    """From where on a person has to look at what a dictionary would change."""

    max_changed_documents: int = Field(strict=True, ge=0, description="Documents whose tokens may change without a person.")
    min_rbo: float = Field(ge=0, le=1, allow_inf_nan=False, description="Rank-biased overlap of the results before and after.")


class Waits(Model):
    """How long a dictionary sync waits for the service before it fails with the last status."""

    publish: Duration = Field(default=timedelta(minutes=30), description="For a new version of a package to become available.")
    associate: Duration = Field(default=timedelta(hours=1), description="For the domain to use it; minutes are usual.")
    reload: Duration = Field(default=timedelta(minutes=15), description="For the service to reload the search analyzers.")


class _DomainFields(Model):
    opensearch_conn_id: ConnectionId = Field(description="Airflow connection of the data plane; without a host it is looked up.")
    schedule: Cron | None = Field(
        default=None, description="Cron expression of the dictionary sync; without one it is run by hand."
    )
    timezone: TimeZone = Field(default="UTC", description="Time zone of the schedule.")
    deadline: Duration = Field(default=timedelta(hours=6), description="A sync that takes longer is reported, e.g. 2h.")
    approval: Flag = Field(default=False, description="No effect yet. A person approves before a dictionary is published.")
    preview: Preview | None = Field(default=None, description="No effect yet. From where on a person has to look at a change.")
    waits: Waits = Field(default=Waits(), description="How long a sync waits for the service.")


class DomainEntry(_DomainFields):
    """An Amazon OpenSearch Service domain."""

    domain_name: DomainName | None = Field(default=None, description="Name of the domain in AWS; without it the entry's key.")
    region: Region | None = Field(default=None, description="In place of the one in defaults.")
    aws_conn_id: ConnectionId | None = Field(default=None, description="In place of the one in defaults.")
    slack_conn_id: ConnectionId | None = Field(default=None, description="In place of the one in defaults.")
    bucket: Bucket | None = Field(
        default=None, description="In place of the one in defaults; it has to be in the domain's Region."
    )
    packages: tuple[Key, ...] = Field(default=(), description="Keys of packages, in the order in which they are applied.")


class Domain(_DomainFields):
    """A domain as a DAG gets it, with its packages in their order and every index that the inventory names on it."""

    key: Key
    domain_name: DomainName
    region: Region
    aws_conn_id: ConnectionId
    slack_conn_id: ConnectionId
    bucket: Bucket
    packages: tuple[Package, ...]
    indexes: tuple[Index, ...]

    @property
    def pool(self) -> str:
        """Airflow pool that keeps dictionary syncs of this domain apart."""
        return f"dictionary_sync_{self.key}"


FunctionKind = Literal["asynchronous", "stream", "sqs"]

# Lambda API reference: PutFunctionEventInvokeConfig and UpdateEventSourceMapping.
RETRIES: dict[FunctionKind, range] = {"asynchronous": range(0, 3), "stream": range(-1, 10_001)}
EVENT_AGE: dict[FunctionKind, tuple[timedelta, timedelta]] = {
    "asynchronous": (timedelta(minutes=1), timedelta(hours=6)),
    "stream": (timedelta(minutes=1), timedelta(days=7)),
}
# What an entry of each kind may say beside what every entry may.
SETTINGS: dict[FunctionKind, tuple[str, ...]] = {
    "asynchronous": ("retries", "max_event_age", "on_failure", "namespace"),
    "stream": (
        "source",
        "retries",
        "max_event_age",
        "bisect",
        "report_batch_item_failures",
        "parallelization_factor",
        "on_failure",
    ),
    "sqs": ("source", "report_batch_item_failures"),
}
ON_FAILURE: dict[FunctionKind, tuple[str, ...]] = {
    "asynchronous": ("sqs", "sns", "lambda", "events", "s3"),
    "stream": ("sqs", "sns", "s3"),
}


class FunctionEntry(Model):
    """A Lambda function, and how often what fails is tried again. A setting that is left out stays as it is in AWS."""

    function: FunctionName = Field(description="Name of the function.")
    qualifier: Qualifier | None = Field(
        default=None, description="Alias or version that is invoked, where it is not the function itself."
    )
    kind: FunctionKind = Field(
        description="How events reach it: by asynchronous invocation, from a DynamoDB or Kinesis stream, or from an SQS queue."
    )
    source: EventSource | None = Field(
        default=None, description="ARN of the stream or queue, where the function has several mappings and one is meant."
    )
    retries: int | None = Field(
        default=None,
        strict=True,
        description="0 to 2 for asynchronous; for a stream up to 10000, or -1: until the record expires.",
    )
    max_event_age: Duration | None = Field(
        default=None, description="An older event is not tried again: 1m to 6h for asynchronous, 1m to 7d for a stream."
    )
    on_failure: Destination | None = Field(
        default=None, description="ARN that gets what failed for good; only from an SQS queue can it be sent again."
    )
    bisect: Flag | None = Field(default=None, description="For a stream: split a batch that failed.")
    report_batch_item_failures: Flag | None = Field(
        default=None, description="For a stream or a queue: the function says which records of a batch failed."
    )
    parallelization_factor: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=10,
        description="For a stream: batches of one shard that are worked on at once; the records of one item keep their order.",
    )
    lease: Duration | None = Field(
        default=None, description="How long a claim of the function holds, where that is not its remaining time and 10 s."
    )
    namespace: Key | None = Field(
        default=None,
        description="Namespace of its claims of object events: what failed there for good is sent again after a reset only, "
        "what is in progress later. Not with another region or aws_conn_id than that of defaults.",
    )
    region: Region | None = Field(default=None, description="In place of the one in defaults.")
    aws_conn_id: ConnectionId | None = Field(
        default=None, description="In place of the one in defaults, for Lambda and SQS; not for the bucket and the table."
    )

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        if problems := [*_foreign_settings(self), *_limit_problems(self)]:
            raise ValueError("; ".join(problems))
        return self


def _foreign_settings(entry: FunctionEntry) -> list[str]:
    some = {name for names in SETTINGS.values() for name in names}
    foreign = sorted(name for name in some.difference(SETTINGS[entry.kind]) if getattr(entry, name) is not None)
    if not foreign:
        return []
    have = "has" if len(foreign) == 1 else "have"
    return [f'{", ".join(foreign)} {have} no part in kind "{entry.kind}", which takes {", ".join(SETTINGS[entry.kind])}']


def _limit_problems(entry: FunctionEntry) -> list[str]:
    problems = []
    retries, age, kinds = RETRIES.get(entry.kind), EVENT_AGE.get(entry.kind), ON_FAILURE.get(entry.kind)
    if retries and entry.retries is not None and entry.retries not in retries:
        problems.append(f'retries of kind "{entry.kind}" are {retries[0]} to {retries[-1]}, found {entry.retries}')
    if age and entry.max_event_age is not None and not age[0] <= entry.max_event_age <= age[1]:
        limits = " to ".join(map(format_duration, age))
        problems.append(f'max_event_age of kind "{entry.kind}" is {limits}, found {format_duration(entry.max_event_age)}')
    if kinds and entry.on_failure and entry.on_failure.split(":")[2] not in kinds:
        problems.append(f'on_failure of kind "{entry.kind}" is the ARN of {", ".join(kinds)}, found "{entry.on_failure}"')
    if entry.source and (":sqs:" in entry.source) != (entry.kind == "sqs"):
        problems.append(f'the source "{entry.source}" does not go with kind "{entry.kind}"')
    return problems


class Function(FunctionEntry):
    """A function as a DAG gets it. ``region`` and ``aws_conn_id`` are those of Lambda and SQS."""

    key: Key
    region: Region
    aws_conn_id: ConnectionId
    home: Home

    @property
    def failed_events(self) -> str | None:
        """ARN of the queue from which failed events can be sent again: records of stream mappings hold no payload."""
        queue = self.on_failure if self.on_failure and self.on_failure.split(":")[2] == "sqs" else None
        return queue if self.kind == "asynchronous" else None


class DateIndex(Model):
    """A global secondary index whose partition key is a day: what a replay by date reads."""

    name: TableIndexName = Field(description="Name of the index.")
    attribute: Text = Field(description="Its partition key: the attribute that holds the day of an item.")
    format: DateFormat = Field(default="%Y%m%d", description="How the day is written, in the words of strftime.")
    timezone: TimeZone = Field(default="UTC", description="Time zone in which the application takes the day.")
    shards: int | None = Field(
        default=None,
        strict=True,
        ge=2,
        le=1000,
        description="How many keys a day has, where it is spread: 10 means `20261121#0` to `20261121#9`.",
    )


class Consumer(Model):
    """Who reads the stream of a table: a Lambda function or an Ingestion pipeline. Its lag paces a replay."""

    function: FunctionName | None = Field(default=None, description="Name of a function with a mapping on the stream.")
    pipeline: PipelineName | None = Field(default=None, description="Name of an Ingestion pipeline, in place of a function.")
    sub_pipeline: SubPipelineName = Field(
        default="dynamodb-pipeline",
        description="Key of the pipeline within its body, under which Ingestion tells its latency.",
    )
    uses_old_image: Flag = Field(
        default=False,
        description="It compares OldImage with NewImage: in a replay they differ by the marker alone, so it sees no change.",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.function is None) == (self.pipeline is None):
            raise ValueError("expected either function or pipeline")
        return self


VersionOwner = Literal["application", "shared"]
MAX_LAG = (timedelta(minutes=1), timedelta(hours=12))
"""A stream keeps a record for 24 hours: half of them are left to mend a consumer that has stopped."""


class Replay(Model):
    """How the items of a table are touched so that their stream records fire again."""

    marker: Marker = Field(
        default="searchops_replay", description="Attribute that a touch sets; nobody else writes it. It is part of the documents."
    )
    wcu_per_second: float = Field(
        default=100,
        gt=0,
        le=40_000,
        allow_inf_nan=False,
        description="Write units a second that a replay consumes at most, those of the table's indexes included.",
    )
    max_lag: Duration = Field(
        default=timedelta(minutes=15),
        description="Age of the oldest unread record from which on a replay pauses; it slows down before. 1m to 12h.",
    )
    version_owner: VersionOwner = Field(
        default="application",
        description="Who increases the version attribute. application: a touch leaves it, and documents that have it already are not "
        "written again. shared: a touch adds 1, so every writer of the item has to add too, never set.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        low, high = MAX_LAG
        if not low <= self.max_lag <= high:
            limits = f"{format_duration(low)} to {format_duration(high)}"
            raise ValueError(f"max_lag is {limits}, found {format_duration(self.max_lag)}")
        if self.marker == "searchops":
            raise ValueError('marker "searchops" is a field of the documents already, for tombstones; take another name')
        return self


class TableEntry(Model):
    """A DynamoDB table whose items can be sent through its stream again."""

    table: TableName | None = Field(default=None, description="Name of the table in AWS; without it the entry's key.")
    index: IndexName | None = Field(
        default=None, description="Index that the stream is written to, one with id and version; without it nothing is compared."
    )
    date_index: DateIndex | None = Field(default=None, description="Without it there is no replay by date.")
    consumers: tuple[Consumer, ...] = Field(default=(), description="Who reads the stream.")
    replay: Replay = Field(default=Replay(), description="How items are touched.")
    region: Region | None = Field(default=None, description="In place of the one in defaults.")
    aws_conn_id: ConnectionId | None = Field(
        default=None, description="In place of the one in defaults, for the table, its stream and its consumers."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if problems := _table_problems(self):
            raise ValueError("; ".join(problems))
        return self


def _table_problems(entry: TableEntry) -> list[str]:
    problems = []
    if entry.date_index and entry.date_index.attribute == entry.replay.marker:
        problems.append(f'the marker is "{entry.replay.marker}", which is the key of date_index; a touch cannot change a key')
    if entry.replay.version_owner == "shared" and entry.index is None:
        problems.append('version_owner "shared" needs an index: its version names the attribute that a touch increases')
    named = [consumer.function or consumer.pipeline or "" for consumer in entry.consumers]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        problems.append(f"the consumer {', '.join(twice)} is named twice")
    return problems


class Table(Model):
    """A table as a DAG gets it. ``region`` and ``aws_conn_id`` are those of the table, its stream and its consumers.

    Where there is a `written_index`, reports and what replays leave go to its bucket, otherwise to that of the defaults: ``home.bucket``.
    """

    key: Key
    table: TableName
    region: Region
    aws_conn_id: ConnectionId
    date_index: DateIndex | None
    consumers: tuple[Consumer, ...]
    replay: Replay
    written_index: WrittenIndex | None
    home: Home

    @property
    def pool(self) -> str:
        """Airflow pool that keeps replays of this table apart."""
        return f"stream_replay_{self.key}"

    @model_validator(mode="after")
    def _marker_is_free(self) -> Self:
        if problems := _written_problems(self.replay, self.written_index):
            raise ValueError("; ".join(problems))
        return self


def _written_problems(replay: Replay, index: WrittenIndex | None) -> list[str]:
    if index is None:
        return []
    problems, version = [], index.version
    if replay.marker in (version.attribute, *index.id.attributes):
        problems.append(f'the marker "{replay.marker}" is an attribute that id or version of indexes.{index.name} is made of')
    if replay.version_owner == "shared" and version.scheme != "attribute":
        problems.append(
            f'version_owner "shared" needs an index whose version is an attribute, found version scheme "{version.scheme}" in '
            f"indexes.{index.name}; leave version_owner out"
        )
    return problems


class Notice(Model):
    """When a domain that can't be used is spoken of, and where."""

    schedule: Cron | None = None
    timezone: TimeZone = "UTC"
    aws_conn_id: ConnectionId = "aws_default"
    slack_conn_id: ConnectionId = "slack_default"
    bucket: Bucket | None = None


class File(Model):
    """Inventory of searchops: the AWS resources that its DAGs look after."""

    defaults: Defaults = Defaults()
    packages: dict[Key, PackageEntry] = Field(default_factory=dict)
    domains: dict[Key, DomainEntry] = Field(default_factory=dict)
    indexes: dict[IndexName, IndexEntry] = Field(default_factory=dict)
    functions: dict[Key, FunctionEntry] = Field(default_factory=dict)
    tables: dict[Key, TableEntry] = Field(default_factory=dict)
