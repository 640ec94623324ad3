"""A pass that is killed after any of its calls loses nothing."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from local.demo.functions import wait_until
from searchops.core.functions.redrive import Choice
from searchops.core.idempotency.table import create_claims_table
from tests.integration.functions_settings.conftest import Company
from tests.integration.functions_settings.mortal import a_pass, live
from tests.unit.small_functions import record

MOST_CALLS = 30


def test_killed_after_each_of_its_calls_a_pass_loses_nothing_and_repeats_an_invocation_without_a_record_only(
    company: Company, tmp_path: Path
) -> None:
    create_claims_table(company.dynamodb, company.table)
    function = company.deploy()
    twice, before = [], 0
    for number in range(1, MOST_CALLS):
        key = f"killed-{number}.txt"
        payload = function.put(key, b"a, b\n")
        body = record(payload, str(uuid.uuid4()), company.name)
        company.sqs.send_message(QueueUrl=company.queue_url, MessageBody=json.dumps(body))
        place = {"function": company.name, "queue": company.queue, "table": company.table}

        life = live(company.cloud.full_environment(), tmp_path, **place, die_after=number)
        wait_until(lambda: _through(company), "what the dead one held is back, and sent")

        sent, before = len(company.control.deliveries(company.name)) - before, len(company.control.deliveries(company.name))
        assert sent in (1, 2), f"sent {sent} times after {life.calls}"
        if sent == 2:
            twice.append(life.calls[-1])
        wait_until(lambda key=key: function.effects(key), f"the work for {key} is done")
        assert (function.runs(key), len(function.effects(key))) == (1, 1)
        assert company.messages() == 0
        if not life.killed:
            assert number > 8
            # Killed after the answer to the invocation; after that of the claim's completion nothing is sent any more.
            assert len(twice) == 1
            assert "/invocations" in twice[0]
            return
    pytest.fail("a pass has no end")


def _through(company: Company) -> bool:
    """Try once more, as Airflow does, and tell whether all is done."""
    outcome = a_pass(company.client, company.name, company.queue, company.table).run(Choice())
    return outcome.problem() is None and company.messages() == 0
