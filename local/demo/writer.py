"""The request path's function in a local cloud: its handler in this process, and its zip."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

from local.cloud import ROOT
from local.demo.functions import builder

FUNCTION = ROOT / "include" / "lambda" / "bulk_writer"


def load_handler() -> Any:
    """The module handler.py, anew: what it keeps between invocations is empty, as in a new execution environment."""
    spec = importlib.util.spec_from_file_location("bulk_writer_handler", FUNCTION / "handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for what their fields are
    spec.loader.exec_module(module)
    return module


def writer_zip() -> bytes:
    """The function's zip for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        archive: Path = builder().build(FUNCTION, Path(folder) / "function.zip")
        return archive.read_bytes()
