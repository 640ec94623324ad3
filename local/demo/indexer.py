"""The stream consumer's function in a local cloud: its handler in this process, its zip, and the function between a table and an index."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from local.cloud import ROOT
from local.demo.functions import builder, role_of

FUNCTION = ROOT / "include" / "lambda" / "stream_indexer"
MAPPING: Mapping[str, Any] = {
    "StartingPosition": "TRIM_HORIZON",
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "BisectBatchOnFunctionError": True,
}
"""The settings without which records are lost, or a record that kills the function takes its neighbours with it."""


def load_handler() -> Any:
    """The module handler.py, anew: what it keeps between invocations is empty, as in a new execution environment."""
    spec = importlib.util.spec_from_file_location("stream_indexer_handler", FUNCTION / "handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for what their fields are
    spec.loader.exec_module(module)
    return module


@cache
def indexer_zip() -> bytes:
    """The function's zip for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        archive: Path = builder().build(FUNCTION, Path(folder) / "function.zip")
        return archive.read_bytes()


class IndexerFunction:
    """The deployed function, and its mappings.

    :param client: makes a boto3 client of the cloud by the name of the service
    :param environment: its settings
    """

    def __init__(
        self, client: Callable[[str], Any], *, name: str, environment: Mapping[str, str], timeout_seconds: int = 60
    ) -> None:
        self.name = name
        self.lambda_ = client("lambda")
        self._mappings: list[str] = []
        self.lambda_.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=role_of(client("iam")),
            Handler="handler.handler",
            Code={"ZipFile": indexer_zip()},
            Timeout=timeout_seconds,
            Environment={"Variables": dict(environment)},
        )

    def map(self, stream: str, **settings: Any) -> str:
        """Read a stream; ``settings`` over those of `MAPPING`.

        :param stream: ARN
        :return: id of the mapping
        """
        made = self.lambda_.create_event_source_mapping(EventSourceArn=stream, FunctionName=self.name, **{**MAPPING, **settings})
        self._mappings.append(made["UUID"])
        return str(made["UUID"])

    def delete(self) -> None:
        """End it, its mappings and its idle processes, which hold 60 MB each."""
        for uuid in self._mappings:
            self.lambda_.delete_event_source_mapping(UUID=uuid)
        self.lambda_.delete_function(FunctionName=self.name)
