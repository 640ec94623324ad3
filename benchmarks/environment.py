"""Let this process be a client of a local cloud."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from local.cloud import Cloud


@contextmanager
def client_of(cloud: Cloud, **more: str) -> Iterator[None]:
    """Give this process the environment of the cloud's clients for a while; nothing of another AWS or Airflow is left in it.

    :param more: variables that replace those of the cloud
    """
    before = dict(os.environ)
    own = {
        "AIRFLOW_HOME": str(cloud.directory / "client"),  # without one, importing Airflow writes into the user's home
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",  # every look of every wait would be a line
    }
    _replace(cloud.full_environment() | own | more)
    try:
        yield
    finally:
        _replace(before)


def _replace(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
