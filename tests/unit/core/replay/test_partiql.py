"""What the answer to a batch says of each of its items; tests/integration/replay asks DynamoDB Local."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from searchops.core.errors import DataError, SearchOpsError, TransientError
from searchops.core.replay.calls import NotAllowed, TableMissing, Throttled
from searchops.core.replay.model import Outcome, Touched, Units
from searchops.core.replay.partiql import Answer, BatchTouch
from searchops.core.replay.touch import Touch, replay_id_of
from tests.unit.core.replay.tables import facts

KEYS = [{"pk": {"S": "a"}, "sk": {"N": str(number)}} for number in range(3)]
MARKED = {**KEYS[0], "searchops_replay": {"S": replay_id_of(7)}, "revision": {"N": "12"}}


class Table:
    """Answers each statement of a batch with the next of these."""

    def __init__(self, responses: list[Mapping[str, Any]], **more: Any) -> None:
        self.answer = {"Responses": responses, **more}

    def batch_execute_statement(self, **request: Any) -> dict[str, Any]:
        return self.answer


def answers(*responses: Mapping[str, Any], version: str | None = "revision", **more: Any) -> list[Answer]:
    client = Table(list(responses), **more)
    touch = Touch(client, facts(), marker="searchops_replay", replay_id=replay_id_of(7), version_attribute=version)
    return BatchTouch(client, facts(), touch)(KEYS[: len(responses)])


def refused(code: str, **more: Any) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": "words", **more}}


def test_each_item_has_the_end_that_its_own_statement_has() -> None:
    found = answers({"Item": MARKED}, refused("ConditionalCheckFailed"), refused("ConditionalCheckFailed", Item=MARKED))

    assert [(one.outcome, one.version) for one in found if isinstance(one, Touched)] == [
        (Outcome.TOUCHED, 12),
        (Outcome.DELETED, None),
        (Outcome.OURS_BEFORE, 12),
    ]


def test_an_item_that_does_not_come_with_the_answer_is_asked_for_again() -> None:
    """Its version would not be known, and its document never be proved."""
    (found,) = answers({"TableName": "items"})

    assert isinstance(found, TransientError)


def test_no_item_has_to_come_where_no_version_is_to_be_told() -> None:
    (found,) = answers({"TableName": "items"}, version=None)

    assert found == Touched(KEYS[0], Outcome.TOUCHED, Units(1.0))


def test_the_units_of_a_batch_are_shared_by_its_items() -> None:
    found = answers({"Item": MARKED}, {"Item": MARKED}, ConsumedCapacity=[{"CapacityUnits": 2.0}, {"CapacityUnits": 4.0}])

    assert [one.units for one in found if isinstance(one, Touched)] == [Units(3.0), Units(3.0)]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ProvisionedThroughputExceeded", Throttled),
        ("RequestLimitExceeded", Throttled),
        ("ThrottlingError", Throttled),
        ("InternalServerError", TransientError),
        ("TransactionConflict", TransientError),
        ("AccessDenied", NotAllowed),
        ("ResourceNotFound", TableMissing),
        ("ValidationError", DataError),
    ],
)
def test_an_error_of_one_statement_is_that_of_its_item_alone(code: str, kind: type[SearchOpsError]) -> None:
    found = answers({"Item": MARKED}, refused(code), {"Item": MARKED})

    assert [type(one) for one in found] == [Touched, kind, Touched]


def test_a_permission_that_is_missing_is_the_one_that_batches_need() -> None:
    (found,) = answers(refused("AccessDenied"))

    assert "dynamodb:PartiQLUpdate" in str(found)


def test_an_item_without_room_is_too_large_for_a_batch_as_well() -> None:
    (found,) = answers(refused("ItemCollectionSizeLimitExceeded"))

    assert isinstance(found, Touched)
    assert found.outcome is Outcome.TOO_LARGE


def test_an_answer_that_says_nothing_is_none() -> None:
    client = Table([])
    client.answer = {}
    touch = Touch(client, facts(), marker="searchops_replay", replay_id=replay_id_of(7))

    with pytest.raises(TransientError, match="damaged"):
        BatchTouch(client, facts(), touch)(KEYS)
