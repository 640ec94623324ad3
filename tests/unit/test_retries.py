from __future__ import annotations

import copy
import json
import pickle
from datetime import timedelta

import pytest
from airflow.sdk import DAG, BaseOperator, RetryAction
from airflow.serialization.serialized_objects import DagSerialization

from searchops.core.errors import DataError, TransientError
from searchops.retries import RETRY_POLICY, retry_policy

COPIES = {
    "itself": lambda policy: policy,
    "deep copy": copy.deepcopy,
    "pickled": lambda policy: pickle.loads(pickle.dumps(policy)),  # noqa: S301
    "serialised": lambda policy: type(policy).deserialize(json.loads(json.dumps(policy.serialize()))),
}


class Drift(DataError):
    pass


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_the_policy_fails_data_errors_and_retries_transient_ones_in_every_form_that_airflow_gives_it(copied):
    policy = copied(retry_policy(timedelta(seconds=7)))

    drift, busy, bug = (policy.evaluate(error, 2, 3) for error in (Drift("x"), TransientError("x"), KeyError("x")))

    assert drift.action is RetryAction.FAIL
    assert (busy.action, busy.retry_delay) == (RetryAction.RETRY, timedelta(seconds=14))
    assert bug.action is RetryAction.DEFAULT


def test_a_dag_that_uses_the_policy_can_be_serialised():
    with DAG("with_policy", schedule=None) as dag:
        BaseOperator(task_id="task", retries=2, retry_policy=RETRY_POLICY)

    json.dumps(DagSerialization.to_dict(dag))


def test_a_transient_error_is_tried_again_after_thirty_seconds_unless_told_otherwise_and_then_ever_more_slowly():
    delays = [RETRY_POLICY.evaluate(TransientError("x"), number, 9).retry_delay for number in (1, 2, 3, 4, 5, 6, 10_000)]

    assert delays == [timedelta(seconds=seconds) for seconds in (30, 60, 120, 240, 300, 300, 300)]
