from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.replay.records import MARKER, REPLAY_ID, is_replay, replay_id

FENCES = st.integers(0, 10**6).map(lambda fence: f"{fence:020d}")
IDS = FENCES | st.builds("{}.{:02d}".format, FENCES, st.integers(1, 99))  # of a round that touches again what did not arrive
NO_IDS = st.none() | st.text("0123456789.", max_size=30).filter(lambda text: REPLAY_ID.fullmatch(text) is None)
MARKERS = IDS | NO_IDS
OTHERS = st.dictionaries(st.sampled_from(["pk", "name", "revision"]), st.text().map(lambda text: {"S": text}))


def image(marker: str | None, others: dict[str, Any], name: str = MARKER) -> dict[str, Any]:
    return {**others, **({} if marker is None else {name: {"S": marker}})}


def modified(old: Any, new: Any) -> dict[str, Any]:
    images = {name: value for name, value in (("OldImage", old), ("NewImage", new)) if value is not None}
    return {"eventName": "MODIFY", "dynamodb": {"Keys": {"pk": {"S": "a"}}, **images}}


@given(MARKERS, IDS, OTHERS)
def test_every_touch_is_told_from_the_images(before: str | None, touch: str, item: dict[str, Any]) -> None:
    """A touch sets its id where the item bears none, or an earlier one, and changes nothing else."""
    if replay_id(image(before, item)) is not None and before is not None and before >= touch:
        return  # is not made

    assert is_replay(modified(image(before, item), image(touch, item))) is True


@given(MARKERS, OTHERS, OTHERS)
def test_an_application_that_leaves_the_marker_alone_is_no_replay(
    marker: str | None, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert is_replay(modified(image(marker, before), image(marker, after))) is False


@given(MARKERS, OTHERS, OTHERS)
def test_a_put_that_erases_the_marker_is_no_replay_even_without_the_image_before(
    marker: str | None, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert is_replay(modified(image(marker, before), after)) is False
    assert is_replay(modified(None, after)) is False


@given(IDS, IDS, OTHERS)
def test_a_marker_that_goes_back_is_no_replays(one: str, other: str, item: dict[str, Any]) -> None:
    """An application has written an item that it had read before the last touch."""
    assert is_replay(modified(image(max(one, other), item), image(min(one, other), item))) is False


@given(NO_IDS, MARKERS, OTHERS)
def test_a_marker_that_no_replay_has_written_is_no_replays(after: str | None, before: str | None, item: dict[str, Any]) -> None:
    assert is_replay(modified(image(before, item), image(after, item))) is False


@given(IDS, OTHERS)
def test_without_the_image_before_it_can_not_be_known(marker: str, item: dict[str, Any]) -> None:
    assert is_replay(modified(None, image(marker, item))) is None


@given(IDS, OTHERS)
def test_what_makes_or_removes_an_item_is_no_replay(marker: str, item: dict[str, Any]) -> None:
    """A restored item, or one copied from another table, may bear a marker."""
    inserted = {"eventName": "INSERT", "dynamodb": {"NewImage": image(marker, item)}}
    removed = {"eventName": "REMOVE", "dynamodb": {"OldImage": image(marker, item)}}

    assert is_replay(inserted) is is_replay(removed) is False


@pytest.mark.parametrize("images", [{}, {"OldImage": {"pk": {"S": "a"}}}])
def test_without_the_image_after_nothing_is_known(images: dict[str, Any]) -> None:
    assert is_replay({"eventName": "MODIFY", "dynamodb": {"Keys": {"pk": {"S": "a"}}, **images}}) is None


def test_the_marker_may_have_another_name() -> None:
    record = modified({"pk": {"S": "a"}}, {"pk": {"S": "a"}, "ours": {"S": "1".zfill(20)}})

    assert (is_replay(record), is_replay(record, "ours")) == (False, True)


@pytest.mark.parametrize(
    "value",
    [
        {"N": "1" * 20},
        {"S": "1" * 19},
        {"S": "1" * 21},
        {"S": "1" * 20 + ".1"},
        {"S": "1" * 20 + "."},
        {"S": "１" * 20},
        {"S": "1" * 20 + "\n"},
        "1" * 20,
        {},
    ],
)
def test_only_a_text_of_twenty_digits_and_perhaps_a_round_is_a_replay_id(value: Any) -> None:
    assert replay_id({MARKER: value}) is None
