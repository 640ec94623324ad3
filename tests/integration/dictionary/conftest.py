"""The company of one test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest import mock

import botocore.session
import pytest
from botocore.loaders import create_loader

from local.cloud import Cloud
from searchops.core.waiting import Cadence
from searchops.triggers import dictionary as triggers
from tests.integration.dictionary.company import Company
from tests.system.views import NodeViews

_loader = cache(create_loader)
CADENCE = Cadence(first_seconds=0.01, even_seconds=0.03, cap_seconds=0.1)


@pytest.fixture(scope="session")
def views(cloud: Cloud) -> Iterator[NodeViews]:
    with NodeViews() as views:
        views.node_url = cloud.endpoints["opensearch"]
        yield views


@pytest.fixture
def company(cloud_environment: Cloud, views: NodeViews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    """Nothing yet: no package, no domain, no index. Waits look often, as the simulator's clock is fast."""
    monkeypatch.setattr(triggers, "CADENCE", CADENCE)
    # Every task makes its clients anew, as its process would; reading the service models anew takes two thirds of that.
    monkeypatch.setattr(botocore.session, "create_loader", _loader)
    with mock.patch.dict(os.environ):
        company = Company(cloud_environment, views, tmp_path)
        company.clear()
        yield company
        company.simulator.clear_faults()
