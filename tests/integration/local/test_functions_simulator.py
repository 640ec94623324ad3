"""What a function meets in the simulator that it would meet in Lambda, tried with functions of a few lines."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from local.cloud import Cloud
from local.demo.functions import wait_until
from local.processes import session_members
from local.simulators.functions.control import FunctionsControl
from tests.conftest import aws_client

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def lambda_(dynamodb_cloud: Cloud) -> Any:
    aws_client(dynamodb_cloud, "iam").create_role(RoleName="simulated", AssumeRolePolicyDocument="{}")
    return aws_client(dynamodb_cloud, "lambda")


@pytest.fixture(scope="module")
def control(dynamodb_cloud: Cloud) -> Iterator[FunctionsControl]:
    control = FunctionsControl(dynamodb_cloud.endpoints["functions"])
    yield control
    control.close()


@pytest.fixture
def create(lambda_: Any) -> Iterator[Callable[..., str]]:
    """Create a function of a source and return its name."""
    created: list[str] = []

    def create(source: str, **options: Any) -> str:
        name = f"simulated-{next(_numbers)}"
        settings = {"Runtime": "python3.13", "Role": "arn:aws:iam::123456789012:role/simulated", "Handler": "handler.handler"}
        lambda_.create_function(FunctionName=name, Code={"ZipFile": zipped(source)}, **settings | options)
        created.append(name)
        return name

    yield create
    for name in {function["FunctionName"] for function in lambda_.list_functions()["Functions"]} & set(created):
        lambda_.delete_function(FunctionName=name)


def zipped(source: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", source)
    return content.getvalue()


def invoke(lambda_: Any, name: str, event: Any = None) -> tuple[str, Any]:
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    return answer.get("FunctionError", ""), json.loads(answer["Payload"].read())


def test_a_function_gets_its_event_its_context_and_its_variables(lambda_: Any, create: Callable[..., str]) -> None:
    source = (
        "import os\nprint('not an answer')\n"
        "def handler(event, context):\n"
        "    print('neither')\n"
        "    left = context.get_remaining_time_in_millis()\n"
        "    return [event, os.environ['COLOUR'], context.function_name, 0 < left <= 7000, len(context.aws_request_id)]\n"
    )
    name = create(source, Timeout=7, Environment={"Variables": {"COLOUR": "青"}})

    assert invoke(lambda_, name, {"a": "東"}) == ("", [{"a": "東"}, "青", name, True, 36])


def test_new_settings_and_new_code_are_used_at_the_next_invocation(lambda_: Any, create: Callable[..., str]) -> None:
    name = create("import os\ndef handler(event, context): return os.environ.get('COLOUR')\n")
    answers = [invoke(lambda_, name)]

    lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": {"COLOUR": "red"}})
    answers.append(invoke(lambda_, name))
    lambda_.update_function_code(FunctionName=name, ZipFile=zipped("def handler(event, context): return 'new'\n"))
    answers.append(invoke(lambda_, name))

    assert answers == [("", None), ("", "red"), ("", "new")]


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("def handler(event, context): raise ValueError('no')\n", "ValueError", "no"),
        ("import airflow\n", "Runtime.ImportModuleError", "Unable to import module 'handler': .*airflow"),
        ("def other(): ...\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'handler'"),
        ("def handler(event, context): return {1, 2}\n", "Runtime.MarshalError", "not JSON serializable"),
        ("import os\ndef handler(event, context): os._exit(3)\n", "Runtime.ExitError", "exit status 3"),
        ("import time\ndef handler(event, context): time.sleep(60)\n", "Sandbox.Timedout", r"Task timed out after 1\.00 seconds"),
    ],
)
def test_a_function_that_fails_answers_as_lambda_does(
    lambda_: Any, create: Callable[..., str], source: str, kind: str, message: str
) -> None:
    failed, payload = invoke(lambda_, create(source, Timeout=1))

    assert (failed, payload["errorType"]) == ("Unhandled", kind)
    assert re.search(message, payload["errorMessage"])


def test_a_process_takes_one_event_at_a_time_and_the_next_one_after_it(
    lambda_: Any, create: Callable[..., str], control: FunctionsControl
) -> None:
    name = create("import os\ndef handler(event, context): return os.getpid()\n")

    one_by_one = {invoke(lambda_, name)[1] for _ in range(3)}
    together = {result["payload"] for result in control.together(name, [None] * 3)}

    assert (len(one_by_one), len(together)) == (1, 3)


def test_a_process_that_is_killed_fails_its_invocation_and_no_other(
    lambda_: Any, create: Callable[..., str], control: FunctionsControl
) -> None:
    name = create("import time\ndef handler(event, context): time.sleep(event)\n", Timeout=60)
    lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"60")
    wait_until(lambda: control.running(name), "it runs")

    for pid in control.running(name):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: control.deliveries(name)[0]["state"] == "discarded", "it has failed")

    assert control.deliveries(name)[0]["condition"] == "RetriesExhausted"
    assert invoke(lambda_, name, 0) == ("", None)


def test_an_event_that_gets_too_old_is_not_tried_again(
    lambda_: Any, create: Callable[..., str], control: FunctionsControl
) -> None:
    name = create("def handler(event, context): raise ValueError('no')\n")
    lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2, MaximumEventAgeInSeconds=60)

    lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    wait_until(lambda: control.deliveries(name)[0]["state"] == "discarded", "it is given up")

    assert (control.deliveries(name)[0]["attempts"], control.deliveries(name)[0]["condition"]) == (1, "EventAgeExceeded")


def test_a_function_that_was_deleted_is_gone_with_its_processes(lambda_: Any, create: Callable[..., str]) -> None:
    name = create("import os\ndef handler(event, context): return os.getpid()\n")
    pid = invoke(lambda_, name)[1]

    lambda_.delete_function(FunctionName=name)

    assert not psutil.pid_exists(pid)
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException):
        lambda_.invoke(FunctionName=name, Payload=b"{}")


def test_the_simulator_listens_on_loopback_only_and_takes_its_processes_with_it(tmp_path: Any) -> None:
    with Cloud(tmp_path, services=("aws", "functions")) as cloud:
        lambda_ = aws_client(cloud, "lambda")
        role = aws_client(cloud, "iam").create_role(RoleName="simulated", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        source = "import os\ndef handler(event, context): return os.getpid()\n"
        lambda_.create_function(
            FunctionName="f", Runtime="python3.13", Role=role, Handler="handler.handler", Code={"ZipFile": zipped(source)}
        )
        pid = invoke(lambda_, "f")[1]
        listening = {
            connection.laddr.ip
            for process in session_members(cloud.process("functions").pid)
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert psutil.pid_exists(pid)

    assert listening == {"127.0.0.1"}
    assert not psutil.pid_exists(pid)
