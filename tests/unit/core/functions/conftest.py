from __future__ import annotations

import pytest

from tests.unit.small_functions import SmallFunctions


@pytest.fixture
def world(s3_url: str, quick_clients: None, monkeypatch: pytest.MonkeyPatch) -> SmallFunctions:
    monkeypatch.setattr("searchops.core.functions.queue.WAIT_SECONDS", 0)
    replace_on_put(monkeypatch)
    return SmallFunctions(s3_url)


def replace_on_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS does: moto keeps every PutFunctionEventInvokeConfig and goes on to answer with the first one."""
    from moto.awslambda.models import LambdaBackend

    put = LambdaBackend.put_function_event_invoke_config

    def replace(self: LambdaBackend, function_name: str, config: dict[str, object]) -> dict[str, object]:
        self.get_function(function_name).event_invoke_config.clear()
        return put(self, function_name, config)

    monkeypatch.setattr(LambdaBackend, "put_function_event_invoke_config", replace)
