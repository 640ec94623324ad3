"""Many waits in Airflow's own trigger runner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.many import AT_CAP_SECONDS, WAITS, Domains
from local.cloud import Cloud
from local.simulators.packages.control import PackagesControl
from searchops.core.waiting import Cadence

SCALE = 0.1
CAP_SECONDS = Cadence(scale=SCALE).delay(AT_CAP_SECONDS * SCALE)


@pytest.fixture
def domains(cloud_environment: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Domains]:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("SEARCHOPS_POLL_SCALE", str(SCALE))
    control = PackagesControl(cloud_environment.endpoints["packages"])
    yield Domains(control)
    control.reset()


def test_two_hundred_waits_of_one_triggerer_share_a_client_and_all_know_within_the_cap_and_two_seconds(domains: Domains) -> None:
    waits = domains.associate(10, 13, age_seconds=AT_CAP_SECONDS * SCALE, warm_seconds=0, count_after_seconds=1)

    late = waits.late()
    looks = (max(waits.changed_at) + max(late) - waits.run.began) / CAP_SECONDS + 1
    assert len(late) == WAITS
    assert CAP_SECONDS == 3.0
    assert max(late) <= CAP_SECONDS + 2
    assert waits.run.clients == 1
    assert waits.calls <= WAITS * looks
