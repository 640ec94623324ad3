from __future__ import annotations

import json
from fractions import Fraction
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchops.core.errors import DataError
from searchops.core.object_events import Change, ObjectEvent, is_batch, messages, padded, read

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
SEQUENCERS = st.text("0123456789abcdefABCDEF", min_size=1, max_size=64)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Records",
                    "eventSource",
                    "EventSource",
                    "Sns",
                    "s3",
                    "bucket",
                    "object",
                    "key",
                    "name",
                    "source",
                    "detail",
                    "Type",
                    "Message",
                    "body",
                ]
            )
            | st.text(max_size=4),
            inner
            | st.sampled_from(["aws:s3", "aws:sqs", "aws:sns", "aws.s3", "Notification", "Object Created", "ObjectCreated:Put"]),
            max_size=5,
        )
    ),
    max_leaves=15,
)


def notification(
    key: str, *, name: str = "ObjectCreated:Put", sequencer: str = "0055AED6DCD90281E5", **changes: Any
) -> dict[str, Any]:
    object_ = {"key": quote_plus(key), "size": 7, "eTag": ETAG, "sequencer": sequencer} | changes
    return {"Records": [{"eventSource": "aws:s3", "eventName": name, "s3": {"bucket": {"name": "uploads"}, "object": object_}}]}


def from_eventbridge(
    key: str, *, kind: str = "Object Created", sequencer: str = "0055AED6DCD90281E5", **changes: Any
) -> dict[str, Any]:
    object_ = {"key": key, "size": 7, "etag": ETAG, "sequencer": sequencer} | changes
    return {"source": "aws.s3", "detail-type": kind, "detail": {"bucket": {"name": "uploads"}, "object": object_}}


def through_sqs(*bodies: Any) -> dict[str, Any]:
    records = [
        {"messageId": f"m{number}", "body": body if isinstance(body, str) else json.dumps(body), "eventSource": "aws:sqs"}
        for number, body in enumerate(bodies)
    ]
    return {"Records": records}


def through_sns(body: Any) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:ap-northeast-1:123456789012:t", "Message": json.dumps(body)}


def directly_from_sns(*bodies: Any) -> dict[str, Any]:
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": through_sns(body)} for body in bodies]}


def only(batch: dict[str, Any]) -> ObjectEvent:
    (message,) = messages(batch)
    (event,) = message.events
    return event


@given(key=KEYS, sequencer=SEQUENCERS)
def test_a_change_is_the_same_whichever_way_it_comes(key: str, sequencer: str) -> None:
    direct, bridged = notification(key, sequencer=sequencer), from_eventbridge(key, sequencer=sequencer)

    (event,) = read(direct)

    assert (event.bucket, event.key, event.change, event.etag, event.size) == ("uploads", key, Change.CREATED, ETAG, 7)
    assert read(bridged) == (event,)
    assert read(directly_from_sns(direct, bridged)) == (event, event)
    assert [only(through_sqs(way)) for way in (direct, bridged, through_sns(direct), through_sns(bridged))] == [event] * 4


def test_only_the_key_of_a_notification_is_url_encoded() -> None:
    assert read(notification("red flower+1%.jpg"))[0].key == "red flower+1%.jpg"
    assert read(from_eventbridge("red+flower%2B.jpg"))[0].key == "red+flower%2B.jpg"


@pytest.mark.parametrize(
    ("name", "deletion", "version", "change"),
    [
        ("ObjectRemoved:Delete", "Permanently Deleted", "v1", Change.VERSION_REMOVED),
        ("ObjectRemoved:Delete", "Permanently Deleted", "null", Change.VERSION_REMOVED),  # written before versioning
        ("ObjectRemoved:Delete", "Permanently Deleted", None, Change.REMOVED),  # a bucket without versions
        ("ObjectRemoved:DeleteMarkerCreated", "Delete Marker Created", "v1", Change.REMOVED),
        ("LifecycleExpiration:Delete", "Permanently Deleted", "v1", Change.VERSION_REMOVED),
        ("LifecycleExpiration:DeleteMarkerCreated", "Delete Marker Created", "v1", Change.REMOVED),
    ],
)
def test_a_removal_is_the_same_whatever_is_told_of_the_content(
    name: str, deletion: str, version: str | None, change: Change
) -> None:
    told = notification("a", name=name, versionId=version)
    bridged = from_eventbridge("a", kind="Object Deleted", **{"version-id": version})
    bridged["detail"]["deletion-type"] = deletion
    del told["Records"][0]["s3"]["object"]["eTag"]

    assert read(told) == read(bridged)
    assert read(told)[0].change is change


def test_the_version_null_of_a_bucket_without_versioning_names_no_version() -> None:
    assert read(notification("a", versionId="null"))[0].version_id is None
    assert read(notification("a", versionId="3HL4kqtJ"))[0].version_id == "3HL4kqtJ"


def test_the_event_by_which_s3_tests_a_configuration_tells_nothing() -> None:
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"}

    assert read(test) == ()
    assert messages(through_sqs(test))[0].events == ()
    assert messages(through_sqs(test))[0].error is None


@given(left=SEQUENCERS, right=SEQUENCERS)
def test_sequencers_compare_as_if_the_shorter_went_on_with_zeros(left: str, right: str) -> None:
    left_value, right_value = (Fraction(int(text, 16), 16 ** len(text)) for text in (left, right))

    assert (padded(left) < padded(right)) is (left_value < right_value)
    assert (padded(left) == padded(right)) is (left_value == right_value)


@pytest.mark.parametrize("sequencer", ["", "xyz", "0" * 65, "٣", "00 1", None, 12])
def test_a_sequencer_that_is_no_hexadecimal_number_is_refused(sequencer: Any) -> None:
    with pytest.raises(DataError, match="expected 1 to 64 hexadecimal digits"):
        read(notification("a", sequencer=sequencer))


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"source": "aws.events", "detail-type": "Scheduled Event"}, "an event of aws.events"),
        ({"Records": [{"eventSource": "aws:dynamodb", "dynamodb": {}}]}, "records of aws:dynamodb"),
        ({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]}, "the keys []"),
        ({"Records": []}, "the keys ['Records']"),
        ({"httpMethod": "GET", "body": "secret"}, "the keys ['body', 'httpMethod']"),
        ([1], "a list"),
        (None, "a NoneType"),
    ],
)
def test_an_event_that_is_not_from_s3_is_refused_by_naming_what_it_is(event: Any, found: str) -> None:
    with pytest.raises(DataError) as refused:
        read(event)

    assert "expected an S3 notification" in str(refused.value)
    assert f"found {found}" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["ObjectTagging:Put", "ObjectRestore:Completed", "ReducedRedundancyLostObject", 3, None])
def test_an_event_of_another_kind_is_refused(name: Any) -> None:
    with pytest.raises(DataError, match="expected an event of an object that was created or removed"):
        read(notification("a", name=name))


@settings(max_examples=500)
@given(JSON)
def test_whatever_comes_is_read_or_refused(event: Any) -> None:
    for read_it in (read, lambda event: is_batch(event) and messages(event)):
        try:
            read_it(event)
        except DataError as error:
            assert str(error)  # noqa: PT017 - either way is right


def test_a_message_that_can_not_be_read_does_not_hold_up_its_neighbours() -> None:
    batch = through_sqs(notification("a"), "no JSON", notification("b"))

    first, second, third = messages(batch)

    assert is_batch(batch)
    assert [message.events[0].key for message in (first, third)] == ["a", "b"]
    assert (second.id, second.events) == ("m1", ())
    assert "the body of an SQS message: expected JSON" in str(second.error)
