from __future__ import annotations

import pytest

from tests.unit.core.bulk.small_s3 import SmallS3, client_of


@pytest.fixture
def s3(s3_url: str, quick_clients: None) -> SmallS3:
    return SmallS3(client_of(s3_url))
