"""Indexes as those get them who write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from searchops.inventory import BrokenEntry, Inventory, WrittenIndex

Read = Callable[[str], Inventory]

DEFAULTS = "defaults: {region: ap-northeast-1, bucket: example-bucket, slack_conn_id: ops, claims_table: our-claims}\n"
DOMAINS = "domains: {search: {opensearch_conn_id: node}}\n"
WRITTEN = "domain: search, id: {attributes: [pk, sk]}, version: {scheme: attribute, attribute: revision}"


def indexes(**entries: str) -> str:
    return "indexes:\n" + "".join(f"  {name}: {{{fields}}}\n" for name, fields in entries.items())


def errors_of(found: Inventory, name: str) -> tuple[str, ...]:
    entry = found.entries("written_indexes")[name]
    assert isinstance(entry, BrokenEntry)
    return entry.errors


def test_an_index_that_is_written_comes_with_the_place_of_its_domain_and_goes_through_json_and_back(read: Read) -> None:
    found = read(
        DEFAULTS
        + "domains: {search: {domain_name: example-search, opensearch_conn_id: node, region: eu-west-1, aws_conn_id: there, bucket: other}}\n"
        + indexes(items=f"{WRITTEN}, hand_over: {{firehose: overflow, patience: 2m}}", read_only="domain: search")
    )

    assert found.errors == ()
    assert set(found.written_indexes) == {"items"}
    index = found.written_indexes["items"]
    assert (index.domain, index.domain_name, index.opensearch_conn_id) == ("search", "example-search", "node")
    assert (index.region, index.aws_conn_id, index.slack_conn_id, index.bucket) == ("eu-west-1", "there", "ops", "other")
    assert (index.home.region, index.home.aws_conn_id, index.home.bucket) == ("ap-northeast-1", "aws_default", "other")
    assert index.home.claims_table == "our-claims"
    assert (index.deletes, index.tombstone_days) == ("tombstone", 8)
    assert index.hand_over
    assert (index.hand_over.buffer_mib, index.hand_over.buffer_interval) == (5, timedelta(minutes=1))
    assert WrittenIndex.model_validate(index.model_dump(mode="json")) == index


@pytest.mark.parametrize(
    ("fields", "days"),
    [(WRITTEN, 8), (f"{WRITTEN}, tombstone_days: 2", 2), (f"{WRITTEN}, deletes: never", None)],
)
def test_tombstones_are_swept_after_eight_days_where_nothing_else_is_said(read: Read, fields: str, days: int | None) -> None:
    assert read(DEFAULTS + DOMAINS + indexes(items=fields)).written_indexes["items"].tombstone_days == days


def test_a_tombstone_stays_two_days_at_least(read: Read) -> None:
    found = read(DEFAULTS + DOMAINS + indexes(items=f"{WRITTEN}, tombstone_days: 1"))

    (message,) = errors_of(found, "items")
    assert "indexes.items.tombstone_days" in message
    assert "greater than or equal to 2" in message


def test_a_broken_package_of_the_domain_is_no_reason_not_to_write(read: Read) -> None:
    found = read(
        DEFAULTS
        + "packages: {words: {kind: nonsense, source: a}}\ndomains: {search: {opensearch_conn_id: node, packages: [words]}}\n"
        + indexes(items=WRITTEN, other="domain: search, hand_over: 7")
    )

    assert not found.domains
    assert set(found.written_indexes) == {"items"}


def test_a_broken_index_is_shown_in_its_place_and_its_neighbour_stays(read: Read) -> None:
    found = read(
        DEFAULTS
        + "domains: {search: {opensearch_conn_id: node, slack_conn_id: team, schedule: '0 3 * * *'}}\n"
        + indexes(items=WRITTEN, bad="domain: search, id: {attributes: [pk]}", silent="domain: search, probes: 3")
    )

    entries = found.entries("written_indexes")
    assert set(entries) == {"items", "bad"}
    bad = entries["bad"]
    assert not isinstance(bad, WrittenIndex)
    assert bad.errors == (
        "include/searchops.yaml: indexes.bad: id given, but not both id and version; an index that is written needs the two (line 5)",
    )
    assert bad.notice
    assert (bad.notice.slack_conn_id, bad.notice.bucket, bad.notice.schedule) == ("team", "example-bucket", None)


def test_an_index_whose_domain_leads_nowhere_says_so(read: Read) -> None:
    found = read(DEFAULTS + "domains: {search: {schedule: daily}}\n" + indexes(items=WRITTEN))

    errors = errors_of(found, "items")
    assert errors[0] == "include/searchops.yaml: indexes.items.domain: its domain does not validate (line 4)"
    assert any("domains.search.opensearch_conn_id" in error for error in errors[1:])


def test_two_indexes_do_not_share_a_stream(read: Read) -> None:
    handed_over = f"{WRITTEN}, hand_over: {{firehose: overflow, patience: 2m}}"
    found = read(DEFAULTS + DOMAINS + indexes(items=handed_over, others=handed_over))

    assert set(found.written_indexes) == {"items"}
    assert errors_of(found, "others") == (
        'include/searchops.yaml: indexes.others.hand_over.firehose: "overflow" is already the stream of indexes.items; '
        "give each index its own (line 5)",
    )
    assert found.problems == ()


@pytest.mark.parametrize(
    ("buffer", "message"), [("buffer_mib: 0", "buffer_mib"), ("buffer_interval: 16m", "1s to 15m, found 16m")]
)
def test_a_buffer_that_firehose_would_refuse_is_refused(read: Read, buffer: str, message: str) -> None:
    found = read(DEFAULTS + DOMAINS + indexes(items=f"{WRITTEN}, hand_over: {{firehose: overflow, patience: 2m, {buffer}}}"))

    assert any(message in error for error in found.errors)


@pytest.mark.parametrize("name", ["'caf\u00e9'", "'a(b)'", "'a@b'"])
def test_a_name_that_no_dag_can_have_is_a_mistake_where_the_index_is_written(read: Read, name: str) -> None:
    written, only_named = (
        read(DEFAULTS + DOMAINS + f"indexes: {{{name}: {{{fields}}}}}") for fields in (WRITTEN, "domain: search")
    )

    assert any("gives its name to DAGs" in error for error in written.errors)
    assert only_named.errors == ()
