"""Settings that are relaxed for a load and put back, on the real node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.errors import DataError, TransientError
from tests.integration.bulk_load.conftest import Loads

NAMES = ("refresh_interval", "number_of_replicas")


def set_to(loads: Loads, **settings: Any) -> None:
    loads.node.indices.put_settings(index=loads.concrete, body={"index": settings})


def found(loads: Loads) -> Mapping[str, Any]:
    return {name: loads.settings().get(name) for name in NAMES}


def test_settings_are_relaxed_and_put_back(loads: Loads) -> None:
    before = found(loads)

    assert loads.relax(refresh_interval="30s", replicas="0")["settings"] == {"refresh_interval": "30s", "number_of_replicas": "0"}
    assert found(loads) == {"refresh_interval": "30s", "number_of_replicas": "0"}
    loads.node.index(index=loads.concrete, id="a", body={"n": 1})
    loads.restore()

    assert found(loads) == before == {"refresh_interval": "1s", "number_of_replicas": "1"}
    assert loads.node.count(index=loads.concrete)["count"] == 1
    assert loads.keys("relaxed/") == []
    assert loads.restore()["settings"] == {}


def test_a_setting_that_was_not_there_is_removed_again(loads: Loads) -> None:
    set_to(loads, refresh_interval=None)

    loads.relax(refresh_interval="-1")
    loads.restore()

    assert "refresh_interval" not in loads.settings()


def test_a_run_that_was_killed_before_it_put_them_back_does_not_lose_them(loads: Loads) -> None:
    loads.relax(refresh_interval="30s", replicas="0")

    loads.relax(refresh_interval="60s", replicas="0")  # the next run; nobody has put anything back
    assert found(loads)["refresh_interval"] == "60s"
    loads.restore()

    assert found(loads) == {"refresh_interval": "1s", "number_of_replicas": "1"}


def test_a_run_that_died_between_keeping_and_setting_them_does_no_harm(loads: Loads, proxy: FaultProxy) -> None:
    proxy.order(Fault(Kind.STATUS_503, path="_settings", times=1))

    with pytest.raises(TransientError):
        loads.relax(refresh_interval="30s")
    assert loads.keys("relaxed/")
    loads.relax(refresh_interval="30s")
    loads.restore()

    assert found(loads)["refresh_interval"] == "1s"


def test_what_a_person_changes_during_a_load_stays(loads: Loads) -> None:
    loads.relax(refresh_interval="30s", replicas="0")
    set_to(loads, refresh_interval="5s")

    done = loads.restore()

    assert (done["settings"], done["left"]) == ({"number_of_replicas": "1"}, {"refresh_interval": "5s"})
    assert found(loads) == {"refresh_interval": "5s", "number_of_replicas": "1"}


def test_settings_are_never_tightened_and_replicas_that_the_cluster_counts_are_left(loads: Loads) -> None:
    set_to(loads, refresh_interval="-1", auto_expand_replicas="0-1")

    assert loads.relax(refresh_interval="30s", replicas="0")["settings"] == {}
    assert loads.relax(refresh_interval="", replicas="")["settings"] == {}
    assert loads.keys("relaxed/") == []


def test_an_index_that_is_gone_or_was_rebuilt_meanwhile_holds_nothing_up(loads: Loads) -> None:
    loads.relax(refresh_interval="30s")
    other = f"{loads.name}-2"
    loads.node.indices.create(index=other, body={"aliases": {}})
    moves = [{"remove": {"index": loads.concrete, "alias": loads.name}}, {"add": {"index": other, "alias": loads.name}}]
    loads.node.indices.update_aliases(body={"actions": moves})

    assert loads.relax(refresh_interval="30s")["index"] == other
    assert found(loads)["refresh_interval"] == "1s"
    loads.node.indices.delete(index=other)
    assert loads.restore()["settings"] == {}
    assert loads.keys("relaxed/") == []


def test_wishes_that_make_no_sense_are_refused_and_change_nothing(loads: Loads) -> None:
    for wish, message in (
        ({"refresh_interval": "often"}, "expected an interval such as 30s"),
        ({"replicas": "-1"}, "replicas: expected a whole number from 0"),
    ):
        with pytest.raises(DataError, match=message):
            loads.relax(**wish)
    assert found(loads) == {"refresh_interval": "1s", "number_of_replicas": "1"}
