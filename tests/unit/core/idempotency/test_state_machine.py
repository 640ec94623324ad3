"""The promises of the guard under everything that can happen to three workers; and the proof that the harness sees a breach."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from searchops.core.idempotency import writes
from searchops.core.idempotency.fences import Fences
from tests.unit.core.idempotency.machine import GuardMachine, Overwritten, PowertoolsMachine, Violation

# The first breach is proof enough, and finding the shortest way to it takes minutes. The same search each time: it does not miss now and then.
SEARCH = settings(
    max_examples=1000,
    stateful_step_count=40,
    phases=[Phase.generate],
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
)
OWNER, FENCE, PAYLOAD, LEASE = "#owner = :owner", "#fence < :fence", "#fingerprint = :fingerprint", "#lease_until <= :now_ms"
ALWAYS = "attribute_exists(#id)"


def test_no_interleaving_breaks_a_promise_of_the_guard():
    run_state_machine_as_test(GuardMachine, settings=settings(max_examples=300, stateful_step_count=40))


def test_the_harness_finds_that_a_late_owner_of_powertools_overwrites_its_successor():
    with pytest.raises(Overwritten, match="completed by a late owner"):
        run_state_machine_as_test(PowertoolsMachine, settings=SEARCH)


@pytest.mark.parametrize(
    ("expression", "part", "instead"),
    [
        pytest.param("_MINE", OWNER, ALWAYS, id="whoever completes is taken for the owner"),
        pytest.param("_MINE", "#status = :in_progress", ALWAYS, id="an owner ends what it has ended"),
        pytest.param("_FREE", FENCE, ALWAYS, id="an old request takes the key"),
        pytest.param("_FREE", PAYLOAD, ALWAYS, id="any payload will do"),
        pytest.param("_FREE", LEASE, ALWAYS, id="a lease is not waited for"),
        pytest.param("_FREE", f" AND {LEASE}", f" AND {LEASE} AND #fence = :now_s", id="a dead owner keeps the key"),
        pytest.param("_FREE", "#status = :released", "#status <> :in_progress", id="what is done is done again"),
    ],
)
def test_the_harness_finds_a_guard_with_a_hole(expression: str, part: str, instead: str, monkeypatch: pytest.MonkeyPatch):
    whole = getattr(writes, expression)
    assert part in whole
    monkeypatch.setattr(writes, expression, whole.replace(part, instead))

    with pytest.raises(Violation):
        run_state_machine_as_test(GuardMachine, settings=SEARCH)


def test_the_harness_finds_numbers_of_a_block_that_is_older_than_a_record_lives(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Fences, "_too_old", lambda self: False)

    with pytest.raises(Violation):
        run_state_machine_as_test(GuardMachine, settings=SEARCH)
