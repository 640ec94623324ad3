"""A worker that is killed between its effect and its completion."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import boto3

from searchops.core.idempotency.guard import Claim, Guard

# Made where the processes are forked from, so that each finds the model of the service read; a process connects by itself.
SESSION = boto3.session.Session()
SESSION.client("dynamodb", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


def die_after_the_effect(settings: dict[str, Any], client: dict[str, Any], key: str, effects: Path) -> None:
    """Take the key, leave the fence in a file, and wait for the end; never returns."""
    claim = Guard(SESSION.client("dynamodb", **client), **settings).claim(key)
    assert isinstance(claim, Claim)
    effect(effects, claim.fence)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def effect(effects: Path, fence: int) -> None:
    """One line a time; a line is written in one piece."""
    with effects.open("a") as file:
        file.write(f"{fence}\n")
