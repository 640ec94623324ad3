"""Put a domain's clients and the inventory together to what `searchops.core.dictionary` works with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from searchops.core.dictionary.model import IndexPolicy, Kind, Probe, Remedy
from searchops.core.dictionary.survey import DomainRules
from searchops.core.dictionary.sync import DictionarySync, Entry
from searchops.inventory import Domain, Package

if TYPE_CHECKING:
    from searchops.core.dictionary.node import Node
    from searchops.hooks.opensearch_service import OpenSearchServiceHook


def node_of(domain: Mapping[str, Any]) -> Node:
    """The data plane of a domain of the inventory, given as JSON."""
    return DomainClients(Domain.model_validate(domain)).node


def entry_of(package: Package) -> Entry:
    return Entry(
        key=package.key,
        kind=Kind(package.kind),
        source=package.source,
        path=package.source_path,
        package_id=package.package_id,
        name=package.name,
        overwrite_drift=package.on_drift == "overwrite",
    )


def rules_of(domain: Domain) -> DomainRules:
    return DomainRules(
        kinds={package.key: Kind(package.kind) for package in domain.packages},
        policies={
            index.name: IndexPolicy(
                on_search_time_use=Remedy(index.on_search_time_use),
                on_index_time_use=Remedy(index.on_index_time_use),
                may_be_closed=index.version is None or index.version.scheme != "ingestion",
            )
            for index in domain.indexes
        },
        probes={
            index.name: [Probe(probe.analyzer, probe.text, probe.contains) for probe in index.probes] for index in domain.indexes
        },
    )


class DomainClients:
    """The clients of one domain, each made when it is first needed."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    @cached_property
    def service(self) -> OpenSearchServiceHook:
        from searchops.hooks.opensearch_service import OpenSearchServiceHook

        return OpenSearchServiceHook(aws_conn_id=self.domain.aws_conn_id, region_name=self.domain.region)

    @cached_property
    def s3(self) -> Any:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

        return AwsBaseHook(aws_conn_id=self.domain.aws_conn_id, region_name=self.domain.region, client_type="s3").conn

    @cached_property
    def node(self) -> Node:
        from searchops.core.dictionary.node import Node
        from searchops.hooks.opensearch import domain_client

        return Node(domain_client(self.domain, lambda: self.service.conn))

    def sync(self, package_key: str) -> DictionarySync:
        package = next(package for package in self.domain.packages if package.key == package_key)
        return DictionarySync(
            entry_of(package),
            self.domain.domain_name,
            rules_of(self.domain),
            client=self.service.conn,
            writer=self.service.writer,
            node=self.node,
            s3=self.s3,
            bucket=self.domain.bucket,
        )
