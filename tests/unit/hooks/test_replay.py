"""What a replay's tasks leave for people, and where."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from searchops.core.errors import TransientError
from searchops.core.replay.arrivals import Arrivals
from searchops.core.replay.model import Counts
from searchops.core.replay.report import read_report, report_key
from searchops.core.replay.selection import ByDate
from searchops.hooks.replay import ReplayClients
from searchops.inventory import Table, inventory
from tests.unit.core.replay.memory_s3 import MemoryS3

REPLAY = f"{1:020}"
DAY = ByDate("created_ymd-index", "created_ymd", date(2026, 11, 3), ("20261103",))
COUNTS = Counts(touched=30)


class Unreachable:
    """S3 that does not answer."""

    def put_object(self, **request: Any) -> None:
        raise EndpointConnectionError(endpoint_url="s3")

    get_object = put_object


@pytest.fixture
def table() -> Table:
    table = inventory().tables["products"]
    assert isinstance(table, Table)
    return table


def clients(table: Table, s3: Any) -> ReplayClients:
    made = ReplayClients(table)
    vars(made)["s3"] = s3
    return made


def test_the_report_of_a_try_adds_to_those_before(table: Table) -> None:
    s3 = MemoryS3()
    for seconds, throttled in ((2.0, {"table": 1}), (3.0, {"table": 2, "index": 1})):
        report = clients(table, s3).touched(DAY, REPLAY, COUNTS, seconds, throttled)

    assert (report.seconds, report.throttled) == (5.0, {"table": 3, "index": 1})
    reconciled, uri = clients(table, s3).reconciled(DAY, REPLAY, COUNTS, Arrivals(arrived=30))
    assert (reconciled.seconds, reconciled.throttled, reconciled.short) == (5.0, {"table": 3, "index": 1}, 0)
    assert read_report(s3.bucket, "products", REPLAY) == reconciled
    assert uri == f"s3://example-searchops/{report_key('products', REPLAY)}"


def test_what_is_touched_stays_so_when_its_report_can_not_be_written(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    """A task that failed for that, after the end of its replay, would touch everything once more with its next try."""
    report = clients(table, Unreachable()).touched(DAY, REPLAY, COUNTS, 2.0, {"table": 1})

    assert (report.counts, report.seconds, report.throttled) == (COUNTS, 2.0, {"table": 1})
    assert f"The report of the replay {REPLAY} could not be written to s3://example-searchops" in caplog.text
    with pytest.raises(TransientError):
        clients(table, Unreachable()).reconciled(DAY, REPLAY, COUNTS, Arrivals(arrived=30))


def test_a_report_that_somebody_has_changed_is_written_anew(table: Table) -> None:
    s3 = MemoryS3()
    s3.put_object(Bucket="b", Key=report_key("products", REPLAY), Body=b"changed by hand")

    report = clients(table, s3).touched(DAY, REPLAY, COUNTS, 2.0, {})

    assert read_report(s3.bucket, "products", REPLAY) == report


def test_the_bucket_is_reached_as_the_index_says_whose_it_is_and_claims_as_the_defaults_say(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, key in (("aws_default", "HOME"), ("search_account", "INDEX")):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", f'{{"conn_type": "aws", "login": "{key}", "password": "x"}}')
    assert table.written_index
    index = table.written_index.model_copy(update={"region": "eu-west-1", "aws_conn_id": "search_account"})
    away = ReplayClients(table.model_copy(update={"written_index": index}))
    without = ReplayClients(table.model_copy(update={"written_index": None}))

    assert [place(client) for client in (away.s3, away.dynamodb)] == [("INDEX", "eu-west-1"), ("HOME", "ap-northeast-1")]
    assert place(without.s3) == ("HOME", "ap-northeast-1")


def place(client: Any) -> tuple[str, str]:
    return client._request_signer._credentials.access_key, client.meta.region_name


def test_nobody_waits_long_for_the_lag_nor_for_a_read(table: Table) -> None:
    made = ReplayClients(table)

    for config in (made.cloudwatch.meta.config, made.looking.meta.config):
        assert (config.connect_timeout + config.read_timeout) * config.retries["total_max_attempts"] <= 45
