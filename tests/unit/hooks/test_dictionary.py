from __future__ import annotations

from typing import Any

import pytest

from searchops.core.dictionary.model import IndexPolicy, Kind, Probe, Remedy
from searchops.core.dictionary.sync import Entry
from searchops.core.errors import DataError
from searchops.hooks.dictionary import DomainClients, entry_of, rules_of
from searchops.inventory import Domain, load
from tests.unit.small_world import SmallWorld

INDEXES = """
indexes:
  products: {domain: products, on_search_time_use: reopen, on_index_time_use: reopen}
  careful: {domain: products, probes: [{text: a, analyzer: words, contains: [b, c]}]}
  attribute:
    domain: products
    on_search_time_use: reopen
    id: {attributes: [pk]}
    version: {scheme: attribute, attribute: revision}
  etl: {domain: products, id: {attributes: [pk]}, version: {scheme: ingestion}, deletes: immediate}
"""


@pytest.fixture
def domain(running_world: SmallWorld, tmp_path: Any) -> Domain:
    domain = load(running_world.inventory(tmp_path, INDEXES)).domains["products"]
    assert isinstance(domain, Domain), domain
    return domain


def test_what_the_inventory_says_of_indexes_becomes_what_may_be_done_with_them(domain):
    rules = rules_of(domain)

    assert rules.kinds == {"synonyms": Kind.SYNONYMS}
    assert rules.policies == {
        "products": IndexPolicy(Remedy.REOPEN, Remedy.REOPEN, may_be_closed=True),
        "careful": IndexPolicy(Remedy.REPORT, Remedy.REBUILD, may_be_closed=True),
        "attribute": IndexPolicy(Remedy.REOPEN, Remedy.REBUILD, may_be_closed=True),
        "etl": IndexPolicy(Remedy.REPORT, Remedy.REBUILD, may_be_closed=False),
    }
    assert rules.probes["careful"] == [Probe("words", "a", ("b", "c"))]


def test_a_package_of_the_inventory_becomes_an_entry(domain, tmp_path):
    (package,) = domain.packages

    assert entry_of(package) == Entry(
        "synonyms", Kind.SYNONYMS, "include/synonyms.txt", tmp_path / "include" / "synonyms.txt", None, "synonyms"
    )
    assert entry_of(package.model_copy(update={"on_drift": "overwrite"})).overwrite_drift


def test_a_sync_is_put_together_from_the_connections(domain, running_world):
    sync = DomainClients(domain).sync("synonyms")

    assert sync.client.meta.endpoint_url == sync.writer.meta.endpoint_url == running_world.server.url
    assert sync.s3.meta.endpoint_url == running_world.s3_url
    assert (sync.domain, sync.store.bucket) == ("products", running_world.bucket_name)
    assert sync.node.definitions() == {}


def test_each_client_is_made_once(domain):
    clients = DomainClients(domain)

    assert clients.node is clients.node
    assert clients.sync("synonyms").client is clients.sync("synonyms").client


def test_a_connection_without_a_host_finds_the_domain_by_its_name(domain, running_world, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PRODUCTS_SEARCH", "opensearch://?use_ssl=false")

    assert DomainClients(domain).node.definitions() == {}
    assert running_world.control.calls() == {"DescribeDomain": 1}


def test_a_connection_without_a_host_for_a_domain_that_does_not_exist_is_one_clear_error(domain, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PRODUCTS_SEARCH", "opensearch://?use_ssl=false")

    with pytest.raises(DataError, match="domain nothing-here does not exist"):
        _ = DomainClients(domain.model_copy(update={"domain_name": "nothing-here"})).node
