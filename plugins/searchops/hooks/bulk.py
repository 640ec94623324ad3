"""Put the clients of an index that is written and its inventory entry together to what `searchops.core.bulk` works with."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from searchops.hooks.functions import client
from searchops.inventory import WrittenIndex

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from searchops.core.bulk.scheme import Scheme
    from searchops.core.bulk.stream import HandOverStream


def scheme_of(index: WrittenIndex) -> Scheme:
    from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme

    return Scheme(
        version=VersionScheme(index.version.scheme),
        deletes=Deletes(index.deletes),
        attribute=index.version.attribute or "",
        id="|".join(index.id.attributes) or index.id.scheme,
    )


class IndexClients:
    """The clients of one index, each made when it is first needed."""

    def __init__(self, index: WrittenIndex, *, timeout_seconds: float = 30) -> None:
        self.index = index
        self.timeout_seconds = timeout_seconds

    @property
    def facts(self) -> dict[str, Any]:
        """What a person has to know of a task on the index that failed."""
        index = self.index
        return {
            "Index": index.name,
            "Domain": index.domain_name,
            "Domain connection": index.opensearch_conn_id,
            "AWS connection": index.aws_conn_id,
            "Region": index.region,
        }

    def client(self, service: str, **options: Any) -> Any:
        return client(service, self.index.aws_conn_id, self.index.region, **options)

    @cached_property
    def node(self) -> OpenSearch:
        """The data plane; it sends each request once."""
        from searchops.hooks.opensearch import domain_client

        return domain_client(self.index, lambda: self.service, timeout_seconds=self.timeout_seconds)

    @cached_property
    def service(self) -> Any:
        return self.client("opensearch")

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def firehose(self) -> Any:
        """Without botocore's own retries: who hands over counts each attempt."""
        return self.client("firehose", retries={"total_max_attempts": 1, "mode": "standard"})

    @cached_property
    def iam(self) -> Any:
        return self.client("iam")

    @cached_property
    def logs(self) -> Any:
        return self.client("logs")

    @cached_property
    def dynamodb(self) -> Any:
        """Of the account and Region where the table of claims is, which need not be the domain's."""
        home = self.index.home
        return client("dynamodb", home.aws_conn_id, home.region)

    def hand_over_stream(self) -> HandOverStream:
        """
        :raises ValueError: the index has no stream in the inventory
        """
        from searchops.core.bulk.stream import HandOverStream, Stream, read_domain

        index, hand_over = self.index, self.index.hand_over
        if hand_over is None or hand_over.firehose is None:
            raise ValueError(f"{index.name}: expected hand_over.firehose")
        domain = read_domain(self.service, index.domain_name)
        domain.check(hand_over.firehose)
        stream = Stream(
            hand_over.firehose,
            index.name,
            domain.arn,
            index.bucket,
            hand_over.buffer_mib,
            int(hand_over.buffer_interval.total_seconds()),
        )
        return HandOverStream(stream, firehose=self.firehose, iam=self.iam, logs=self.logs, in_vpc=domain.in_vpc)
