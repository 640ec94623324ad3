"""Run a function's handler: started by `sandbox` in the folder of the function's code, with the handler's name in _HANDLER.

Reads one event a line from stdin and writes one answer a line to what was stdout; what the handler prints goes to the log. Standard
library only, and nothing of this project but what the function's zip holds.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any


class Context:
    """The second argument of a handler; the part of Lambda's that Python code commonly uses."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.aws_request_id = order["request_id"]
        self.function_name = order["function"]
        self.invoked_function_arn = order["arn"]
        self.function_version = "$LATEST"
        self.memory_limit_in_mb = "128"
        self._deadline = time.monotonic() + order["timeout_seconds"]

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path[0] = os.getcwd()
    sys.modules["airflow"] = None  # type: ignore[assignment]  # Lambda has none: an import of it fails here too
    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()
    handler, problem = _load(os.environ["_HANDLER"])
    _write(answers, {"ready": True})
    while True:
        order = orders.get()
        _write(answers, _invoke(handler, order) if handler else {"failed": True, "payload": problem})


def _read(orders: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)  # whoever started us is gone


def _load(name: str) -> tuple[Callable[[Any, Context], Any] | None, dict[str, Any]]:
    """The handler, or what every invocation is answered instead."""
    module, _, function = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), function), {}
    except AttributeError:
        return None, {
            "errorType": "Runtime.HandlerNotFound",
            "errorMessage": f"Handler {function!r} missing on module {module!r}",
        }
    except ImportError as error:
        message = f"Unable to import module {module!r}: {error}"
        return None, {"errorType": "Runtime.ImportModuleError", "errorMessage": message, "stackTrace": []}
    except Exception as error:
        return None, _error(error)


def _invoke(handler: Callable[[Any, Context], Any], order: dict[str, Any]) -> dict[str, Any]:
    try:
        payload = handler(order["event"], Context(order))
    except Exception as error:
        return {"failed": True, "payload": _error(error) | {"requestId": order["request_id"]}}
    try:
        json.dumps(payload)
    except (TypeError, ValueError) as error:
        message = f"Unable to marshal response: {error}"
        return {"failed": True, "payload": {"errorType": "Runtime.MarshalError", "errorMessage": message}}
    return {"failed": False, "payload": payload}


def _error(error: Exception) -> dict[str, Any]:
    trace = traceback.format_tb(error.__traceback__)
    return {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": trace}


def _write(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
