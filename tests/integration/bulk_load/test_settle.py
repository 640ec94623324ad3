"""What follows a load that handed documents over: `hand_over_settle_<index>`, and the sensor that waits for it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from local.cloud import Cloud
from local.demo.functions import wait_until
from local.simulators.firehose.control import FirehoseControl
from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.bulk.landing import LANDING_INDEX, install_landing
from searchops.core.bulk.places import firehose_failed_prefix, spool_key
from searchops.core.bulk.runs import State
from searchops.core.bulk.scheme import SchemeDiffers
from searchops.core.errors import DataError, TransientError
from searchops.operators.bulk import OpenSearchBulkLoadOperator
from tests.conftest import aws_client
from tests.integration.bulk_load.conftest import Loads, MakeLoads
from tests.integration.bulk_load.test_load import SPOOLED, lines
from tests.unit.core.bulk.small_s3 import Body


@pytest.fixture
def handed_over(make_loads: MakeLoads, proxy: FaultProxy) -> tuple[Loads, str]:
    """A load of which the cluster took half of the documents, and the other half waits in the spool."""
    loads = make_loads(hand_over=SPOOLED)
    proxy.order(Fault(Kind.ITEM_429, times=1))
    proxy.order(Fault(Kind.STATUS_429, times=None, after=1))
    done = loads.whole([loads.put("a.ndjson", lines(100))])
    proxy.clear()
    assert (done["counts"]["indexed"], done["counts"]["handed_over"], done["state"]) == (50, 50, "closed")
    return loads, done["run"]


def test_what_was_handed_over_is_sent_proved_and_the_load_is_settled(handed_over: tuple[Loads, str]) -> None:
    loads, run = handed_over
    assert not loads.settled(run)

    dry = loads.settle(only_plan=True)
    assert (dry["settled"], dry["redrive"]["groups"][0]["count"]) == (None, 50)
    assert len(loads.held()) == 50
    done = loads.settle()

    assert done["redrive"]["groups"][0]["fates"] == {"indexed": 50}
    assert done["settled"]["runs"][run]["settled"] is True
    assert loads.settled(run)
    assert loads.ledger().state is State.SETTLED
    assert len(loads.held()) == 100
    assert (loads.keys("spool/"), loads.keys("manifests/")) == ([], [])
    assert loads.settle()["redrive"]["objects"] == 0


def test_it_stops_by_itself_when_the_cluster_pushes_back_and_nothing_is_lost(
    handed_over: tuple[Loads, str], proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, run = handed_over
    proxy.order(Fault(Kind.STATUS_429, times=None))

    done = loads.settle()

    assert done["redrive"]["groups"][0]["fates"] == {"not taken": 50}
    assert "the cluster did not take 50 of 50 documents" in loads.report().title
    assert loads.keys("spool/")
    assert not loads.settled(run)
    with monkeypatch.context() as later:
        later.setattr("searchops.core.bulk.redrive.LONGEST_WAIT_SECONDS", 0.0)
        with pytest.raises(TransientError, match="still wait, because the cluster does not take them"):
            loads.settle()
    proxy.clear()
    loads.settle()
    assert len(loads.held()) == 100


def test_what_is_nowhere_to_be_found_fails_for_the_sensor_and_for_the_dag(handed_over: tuple[Loads, str]) -> None:
    loads, run = handed_over
    for key in loads.keys("spool/"):
        loads.s3.delete_object(Bucket=loads.bucket, Key=key)

    with pytest.raises(DataError, match="50 documents were handed over and are neither in the index"):
        loads.settled(run)
    with pytest.raises(DataError, match="50 documents were handed over and are neither in the index"):
        loads.settle()


def test_an_index_with_a_stream_hands_over_to_it(make_loads: MakeLoads, bulk_cloud: Cloud, proxy: FaultProxy) -> None:
    stream = "load-stream"
    loads = make_loads(hand_over={**SPOOLED, "firehose": stream})
    install_landing(loads.node, loads.name)
    create_stream(aws_client(bulk_cloud, "firehose"), stream, loads.bucket, firehose_failed_prefix(loads.name))
    control = FirehoseControl(bulk_cloud.endpoints["firehose"])
    proxy.order(Fault(Kind.STATUS_429, times=None))

    done = loads.whole([loads.put("a.ndjson", lines(100))])

    proxy.clear()
    assert (done["counts"]["handed_over"], loads.keys("spool/")) == (100, [])
    assert not loads.settled(done["run"])
    assert control.flush(stream)
    assert loads.settled(done["run"])
    assert {version for version, _ in loads.held().values()} == {7}
    assert len(loads.held()) == 100
    control.close()


def create_stream(firehose: Any, name: str, bucket: str, prefix: str) -> None:
    role = "arn:aws:iam::123456789012:role/firehose"
    firehose.create_delivery_stream(
        DeliveryStreamName=name,
        AmazonopensearchserviceDestinationConfiguration={
            "RoleARN": role,
            "DomainARN": "arn:aws:es:ap-northeast-1:123456789012:domain/search",
            "IndexName": LANDING_INDEX,
            "IndexRotationPeriod": "NoRotation",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
            "RetryOptions": {"DurationInSeconds": 300},
            "S3Configuration": {"RoleARN": role, "BucketARN": f"arn:aws:s3:::{bucket}", "Prefix": prefix},
        },
    )
    described = "DeliveryStreamDescription"
    wait_until(
        lambda: firehose.describe_delivery_stream(DeliveryStreamName=name)[described]["DeliveryStreamStatus"] == "ACTIVE", name
    )


def test_only_what_is_chosen_is_sent(handed_over: tuple[Loads, str]) -> None:
    loads, _ = handed_over

    assert loads.settle(older_than="1h")["redrive"]["groups"][0]["fates"] == {"not chosen": 50}
    assert loads.settle(kinds='["another kind"]')["redrive"]["groups"][0]["fates"] == {"not chosen": 50}
    assert loads.settle(resend="False")["redrive"] is None
    with pytest.raises(DataError, match="older_than: expected a duration"):
        loads.settle(older_than="soon")
    assert len(loads.held()) == 50


def test_nothing_is_sent_or_proved_where_the_index_has_another_scheme(handed_over: tuple[Loads, str]) -> None:
    loads, run = handed_over
    other = {"searchops": {"scheme": {"version": "once", "deletes": "never"}}}
    loads.node.indices.put_mapping(index=loads.concrete, body={"_meta": other})

    for look in (loads.settle, lambda: loads.settle(only_plan=True), lambda: loads.settled(run)):
        with pytest.raises(SchemeDiffers):
            look()

    assert len(loads.held()) == 50
    assert len(loads.keys("spool/")) == 1


def test_it_is_quick_where_nothing_is_there(loads: Loads) -> None:
    done = loads.settle()

    assert done["settled"]["runs"] == {}
    assert done["redrive"]["objects"] == 0
    assert done["sweep"]["deleted"] == 0
    assert "nothing waits in a lane" in loads.report().title


def test_a_load_that_was_never_begun_has_nothing_to_wait_for(loads: Loads) -> None:
    with pytest.raises(DataError, match="expected the ledger of a load"):
        loads.settled("no such load")


def test_a_load_that_is_under_way_is_not_settled(loads: Loads) -> None:
    loads.plan([loads.put("a.ndjson", lines(1))])

    assert not loads.settled(loads.ledger().run)


def test_the_ledger_says_which_lane_took_what_and_a_stream_that_takes_nothing_is_told(
    make_loads: MakeLoads, proxy: FaultProxy
) -> None:
    loads = make_loads(hand_over={**SPOOLED, "firehose": "no-such-stream"})
    proxy.order(Fault(Kind.STATUS_429, times=None))

    done = loads.whole([loads.put("a.ndjson", lines(10))])

    assert (done["counts"]["handed_over"], loads.ledger().counts.spooled) == (10, 10)
    facts = loads.report().facts
    assert facts["Handed over"] == "0 by Firehose, 10 by the spool"
    assert facts["Stream"].startswith("stream no-such-stream took nothing")


def test_a_bucket_that_is_forbidden_fails_a_load_for_good(make_loads: MakeLoads, proxy: FaultProxy) -> None:
    loads = make_loads(hand_over=SPOOLED)
    (share,) = loads.plan([loads.put("a.ndjson", lines(10))])
    running = loads.running(OpenSearchBulkLoadOperator, inputs=share, map_index=0)
    task: Any = running.task

    def forbid(request: Any, **_: Any) -> AWSResponse | None:
        body = b"<Error><Code>AccessDenied</Code><Message>as ordered</Message></Error>"
        return AWSResponse(request.url, 403, {}, Body(body)) if "/manifests/" in request.url else None

    task.clients.s3.meta.events.register("before-send.s3.PutObject", forbid)
    proxy.order(Fault(Kind.STATUS_429, times=None))

    with pytest.raises(DataError, match="10 documents could not be handed over"):
        running.execute()


def test_a_load_that_was_abandoned_holds_up_nothing_any_more(loads: Loads) -> None:
    loads.plan([loads.put("a.ndjson", lines(1))])
    run = loads.ledger().run
    assert loads.settle()["sweep"]["held_by"] == [f"load {run} is open"]

    done = loads.settle(abandon=f'["{run}"]')

    assert (done["abandoned"], done["sweep"]["held_by"]) == ([run], [])
    with pytest.raises(DataError, match="was abandoned, so it never comes to its end"):
        loads.settled(run)
    with pytest.raises(DataError, match="expected the ledger of a load, found none"):
        loads.settle(abandon=["no such load"])


def test_settings_that_a_killed_load_has_left_relaxed_are_put_back_when_no_load_is_open(loads: Loads) -> None:
    (share,) = loads.plan([loads.put("a.ndjson", lines(1))])
    loads.relax(refresh_interval="30s")
    assert loads.settle()["restored"] == {}
    assert loads.settings()["refresh_interval"] == "30s"

    loads.finish([loads.load(share)])

    assert loads.settle()["restored"] == {"refresh_interval": "1s"}
    assert loads.settings()["refresh_interval"] == "1s"
    assert loads.settle()["restored"] == {}


def test_an_index_that_is_not_made_yet_is_no_failure_unless_something_waits_for_it(loads: Loads) -> None:
    loads.node.indices.delete(index=loads.concrete)

    assert loads.settle()["settled"] is None

    loads.put(spool_key(loads.clients.index.name, "run", "0" * 64), b"")
    with pytest.raises(DataError, match="expected an index or an alias of that name, found none"):
        loads.settle()
