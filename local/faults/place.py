"""Where a run is. Imports nothing of what is tested: the referee needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

REGION = "ap-northeast-1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is: what the processes get. ``node_url``, ``s3_url`` and ``firehose_url`` lead through the faults, the true ones past them."""

    node_url: str
    s3_url: str
    firehose_url: str
    true_node_url: str
    true_s3_url: str
    alias: str
    index: str
    bucket: str
    run: str
    input: str = "0a1b2c"

    @property
    def stream(self) -> str:
        return self.alias


def aws(service: str, url: str, *, attempts: int = 1, session: Any = boto3, seconds: float = 5) -> Any:
    config = Config(
        retries={"total_max_attempts": attempts, "mode": "standard"},
        max_pool_connections=20,
        connect_timeout=2,
        read_timeout=seconds,
    )
    return session.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing", config=config
    )
