"""The landing index on a real node."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from opensearchpy import NotFoundError, OpenSearch

from searchops.core.bulk.landing import LANDING_INDEX, PIPELINE, PROBE_PREFIX, install_landing, plan_landing, targets_of
from searchops.core.bulk.landing_proof import STALE_SECONDS, prove_landing
from searchops.core.errors import DataError
from tests.integration.bulk_setup.conftest import MakeIndex

_numbers = itertools.count(1)


def land(node: OpenSearch, *envelopes: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Write as Firehose does; status and words of each item."""
    lines: list[Any] = []
    for envelope in envelopes:
        lines += [{"index": {"_index": LANDING_INDEX, "_id": f"own-{next(_numbers)}"}}, envelope]
    answer = node.bulk(body="".join(json.dumps(line) + "\n" for line in lines), refresh=True)
    return [(item["index"]["status"], json.dumps(item["index"].get("error", ""))) for item in answer["items"]]


def envelope(index: str, id: str = "a", version: Any = 1, source: Any = None, **more: Any) -> dict[str, Any]:
    return {"index": index, "id": id, "version": version, "source": {"n": 1} if source is None else source, **more}


def targets(node: OpenSearch) -> dict[str, str | None]:
    return targets_of(node.ingest.get_pipeline(id=PIPELINE)[PIPELINE])


def test_a_document_lands_with_its_id_version_and_routing_and_nothing_stays(bare_node: OpenSearch, make_index: MakeIndex) -> None:
    index = make_index()
    assert len(plan_landing(bare_node, index).changes) == 2
    assert not bare_node.indices.exists(index=LANDING_INDEX)

    install_landing(bare_node, index)

    assert [status for status, _ in land(bare_node, envelope(index, version=5), envelope(index, version=4))] == [201, 409]
    assert (
        land(bare_node, envelope(index, "r", 2**63 - 1, {"index": "x", "id": 7, "a": {"b": [1.10]}}, routing="there"))[0][0]
        == 201
    )
    found = bare_node.get(index=index, id="r", routing="there")
    assert (found["_version"], found["_routing"], found["_source"]) == (
        2**63 - 1,
        "there",
        {"index": "x", "id": 7, "a": {"b": [1.10]}},
    )
    assert "_routing" not in bare_node.get(index=index, id="a")
    assert bare_node.count(index=LANDING_INDEX)["count"] == 0
    assert plan_landing(bare_node, index).changes == ()


@pytest.mark.parametrize(
    "bad",
    [
        {"index": "setup-other"},
        {"index": ["setup-other"]},
        {"index": LANDING_INDEX},
        {"id": 7},
        {"id": None},
        {"version": "7"},
        {"version": 1.5},
        {"version": True},
        {"version": -1},
        {"version": None},
        {"version": 2**63},
        {"source": 7},
        {"source": {"_index": "setup-other"}},
        {"source": {"_id": "other"}},
        {"source": {"_version_type": "internal"}},
        {"routing": 3},
    ],
    ids=str,
)
def test_what_is_no_envelope_for_a_target_is_refused_and_makes_no_index(
    bare_node: OpenSearch, make_index: MakeIndex, bad: dict[str, Any]
) -> None:
    index = make_index()
    install_landing(bare_node, index)

    ((status, words),) = land(bare_node, {**envelope(index), **bad})

    assert status == 400, words
    assert bare_node.count(index=index)["count"] == 0
    assert bare_node.count(index=LANDING_INDEX)["count"] == 0
    assert not bare_node.indices.exists(index="setup-other")


def test_an_envelope_that_passes_the_pipeline_by_does_not_stay_unseen(bare_node: OpenSearch, make_index: MakeIndex) -> None:
    index = make_index()
    install_landing(bare_node, index)

    answer = bare_node.bulk(body=[{"index": {"_index": LANDING_INDEX, "pipeline": "_none"}}, envelope(index)])

    assert answer["items"][0]["index"]["status"] == 400


@pytest.fixture
def pipelines(bare_node: OpenSearch) -> Any:
    for name in ("setup-default", "setup-final"):
        bare_node.ingest.put_pipeline(id=name, body={"processors": [{"set": {"field": name, "value": "ran"}}]})
    yield
    for name in ("setup-default", "setup-final"):
        bare_node.ingest.delete_pipeline(id=name)


def test_the_pipelines_that_the_target_has_of_its_own_run_once_each(
    bare_node: OpenSearch, pipelines: Any, make_index: MakeIndex
) -> None:
    own = make_index(settings={"default_pipeline": "setup-default", "final_pipeline": "setup-final"})
    plain = make_index()
    install_landing(bare_node, own, [plain])

    land(bare_node, envelope(own), envelope(plain))

    assert bare_node.get(index=own, id="a")["_source"] == {"n": 1, "setup-default": "ran", "setup-final": "ran"}
    assert bare_node.get(index=plain, id="a")["_source"] == {"n": 1}
    for index in (own, plain):
        bare_node.indices.delete(index=f"{index}-1")


def test_a_default_pipeline_that_the_target_gets_later_is_told_as_missing_and_taken_up(
    bare_node: OpenSearch, pipelines: Any, make_index: MakeIndex
) -> None:
    index = make_index()
    install_landing(bare_node, index)
    bare_node.indices.put_settings(index=f"{index}-1", body={"index": {"default_pipeline": "setup-default"}})

    (change,) = install_landing(bare_node, index).changes

    assert index in change
    land(bare_node, envelope(index))
    assert bare_node.get(index=index, id="a")["_source"]["setup-default"] == "ran"
    bare_node.indices.delete(index=f"{index}-1")


def test_the_other_indexes_of_the_domain_stay(bare_node: OpenSearch, make_index: MakeIndex) -> None:
    first, second, third = make_index(), make_index(), make_index()
    install_landing(bare_node, first)
    install_landing(bare_node, second, [third, "setup-not-there"])

    assert targets(bare_node) == {first: None, second: None, third: None}
    assert [status for status, _ in land(bare_node, envelope(first), envelope(second))] == [201, 201]


def test_several_that_install_at_once_leave_all_their_targets(bare_node: OpenSearch, make_index: MakeIndex) -> None:
    names = [make_index() for _ in range(4)]
    others = {name: [other for other in names if other != name] for name in names}
    failures: list[BaseException] = []

    def install(name: str) -> None:
        try:
            install_landing(bare_node, name, others[name])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=install, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert set(targets(bare_node)) == set(names)


def test_a_landing_index_without_its_pipeline_is_mended_and_what_stayed_in_it_is_counted(
    bare_node: OpenSearch, make_index: MakeIndex
) -> None:
    index = make_index()
    bare_node.index(index=LANDING_INDEX, id="stayed", body={"n": 1}, refresh=True)

    plan = install_landing(bare_node, index)

    assert plan.left == 1
    assert any("correct" in change for change in plan.changes)
    assert land(bare_node, envelope(index))[0][0] == 201
    assert plan_landing(bare_node, index).changes == ()


def test_a_pipeline_of_somebody_else_is_not_written_over(bare_node: OpenSearch, make_index: MakeIndex) -> None:
    bare_node.ingest.put_pipeline(
        id=PIPELINE, body={"description": "theirs", "processors": [{"set": {"field": "a", "value": "b"}}]}
    )

    with pytest.raises(DataError, match="found another \\(theirs\\)"):
        install_landing(bare_node, make_index())


def test_the_proof_leaves_nothing_on_the_domain(bare_node: OpenSearch, make_index: MakeIndex) -> None:
    index = make_index()
    install_landing(bare_node, index)

    proved = prove_landing(bare_node)

    assert any("409" in fact for fact in proved)
    assert bare_node.indices.get(index=f"{PROBE_PREFIX}*") == {}
    assert targets(bare_node) == {index: None}


def break_script(node: OpenSearch, old: str, new: str) -> None:
    body = node.ingest.get_pipeline(id=PIPELINE)[PIPELINE]
    script = body["processors"][0]["script"]
    assert old in script["source"]
    script["source"] = script["source"].replace(old, new)
    node.ingest.put_pipeline(id=PIPELINE, body=body)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ctx._version_type = 'external';", "ctx._version_type = 'external_gte'; ctx._version = 7L;", "an older version"),
        ("ctx._routing = routing;", "", "routing of the document"),
        ("ctx._id = id;", "", "an older version"),
        ("ctx._version_type = 'external';", "ctx._version_type = 'force';", ""),
        ("params.targets.contains(ctx.index) ||", "true ||", "documents with their ids"),
        ("ctx._index = index;", "", "documents with their ids"),
    ],
)
def test_a_domain_that_does_otherwise_is_found_out_and_the_probe_is_removed_all_the_same(
    bare_node: OpenSearch, make_index: MakeIndex, old: str, new: str, told: str
) -> None:
    install_landing(bare_node, make_index())
    break_script(bare_node, old, new)

    with pytest.raises(DataError, match=f"{told}.*expected"):
        prove_landing(bare_node)

    assert bare_node.indices.get(index=f"{PROBE_PREFIX}*") == {}
    bare_node.indices.delete(index="no-searchops-probe-*", ignore_unavailable=True)


def test_without_the_filter_of_an_alias_the_proof_would_fail(
    bare_node: OpenSearch, make_index: MakeIndex, monkeypatch: Any
) -> None:
    install_landing(bare_node, make_index())
    monkeypatch.setattr("searchops.core.bulk.landing_proof.ALIVE", {"match_all": {}})

    with pytest.raises(DataError, match=r"that a search finds.*expected 2, found 3"):
        prove_landing(bare_node)


def test_a_probe_that_a_killed_run_has_left_is_removed_after_an_hour_and_a_running_one_stays(
    bare_node: OpenSearch, make_index: MakeIndex
) -> None:
    install_landing(bare_node, make_index())
    bare_node.indices.create(index=f"{PROBE_PREFIX}killed-1")

    prove_landing(bare_node)
    assert bare_node.indices.exists(index=f"{PROBE_PREFIX}killed-1")
    prove_landing(bare_node, now=lambda: time.time() + STALE_SECONDS + 60)

    with pytest.raises(NotFoundError):
        bare_node.indices.get(index=f"{PROBE_PREFIX}killed-1")
