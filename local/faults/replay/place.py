"""Where a run is. Imports nothing of what is tested: the referee needs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """What the processes get. ``dynamodb_url`` and ``s3_url`` lead through the faults, the true ones past them.

    :param began_at: epoch seconds
    """

    dynamodb_url: str
    s3_url: str
    true_dynamodb_url: str
    true_s3_url: str
    true_node_url: str
    table: str
    stream: str
    claims: str
    bucket: str
    alias: str
    index: str
    began_at: int
