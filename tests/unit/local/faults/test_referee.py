"""What the referee says of an index, document by document."""

from __future__ import annotations

from typing import Any

import pytest

from local.faults.documents import Scheme, Sent
from local.faults.referee import Held, Verdict, _judge_documents

SENT = [
    Sent("index", "a", 1, {"n": 1}),
    Sent("index", "a", 3, {"n": 3}),
    Sent("index", "b", 1, {"n": 1}, routing="r"),
    Sent("delete", "c", 2),
    Sent("index", "c", 1, {"n": 1}),
    Sent("index", "d", 1, {"n": 1}),
    Sent("index", "d", 1, {"n": 2}),
]
GONE = {"searchops": {"deleted": True, "deleted_at": 1}}
RIGHT = {"a": Held(3, {"n": 3}, None), "b": Held(1, {"n": 1}, "r"), "c": Held(2, GONE, None), "d": Held(1, {"n": 2}, None)}


def judged(**changes: Held | None) -> list[str]:
    held = {id: document for id, document in {**RIGHT, **changes}.items() if document is not None}
    verdict = Verdict()
    _judge_documents(verdict, Scheme.TOMBSTONES, SENT, held)
    return verdict.wrong


def test_an_index_that_holds_the_newest_of_each_is_right_whichever_of_two_equal_ones_it_holds() -> None:
    assert judged() == []
    assert judged(d=Held(1, {"n": 1}, None)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"a": None}, "1 documents lost: a"),
        ({"a": Held(1, {"n": 1}, None)}, "1 older writes over newer ones: a"),
        ({"a": Held(4, {"n": 3}, None)}, "1 versions that nobody sent: a"),
        ({"a": Held(3, {"n": 1}, None)}, "1 documents of other content: a"),
        ({"b": Held(1, {"n": 1}, None)}, "1 documents of another routing: b"),
        ({"c": Held(1, {"n": 1}, None)}, "1 deleted documents that came back: c"),
        ({"c": Held(2, {"n": 1}, None)}, "1 documents of other content: c"),
        ({"c": None}, "1 documents lost: c"),
        ({"z": Held(1, {"n": 1}, None)}, "1 documents that nobody sent: z"),
    ],
)
def test_it_names_what_is_wrong(change: dict[str, Any], words: str) -> None:
    assert judged(**change) == [words]


def test_by_sequence_it_looks_at_the_number_in_the_document() -> None:
    sent = [Sent("index", "a", "6200000000002513011003", {"n": 1})]
    verdict = Verdict()

    _judge_documents(
        verdict,
        Scheme.SEQUENCE,
        sent,
        {"a": Held(9, {"n": 1, "searchops": {"sequence": "6200000000002513011003".zfill(40)}}, None)},
    )
    assert verdict.wrong == []

    _judge_documents(verdict, Scheme.SEQUENCE, sent, {"a": Held(9, {"n": 1}, None)})
    assert verdict.wrong == ["1 older writes over newer ones: a"]
