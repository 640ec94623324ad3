from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError

from searchops.hooks.opensearch_service import OpenSearchServiceHook
from tests.unit.small_world import REGION, SmallWorld


@pytest.fixture
def hook(running_world: SmallWorld) -> OpenSearchServiceHook:
    return OpenSearchServiceHook(aws_conn_id="aws_default", region_name=REGION)


def test_both_clients_speak_to_the_service_in_the_region_of_the_hook(hook, running_world):
    for client in (hook.conn, hook.writer):
        assert client.meta.service_model.service_name == "opensearch"
        assert client.meta.region_name == REGION
        assert client.meta.endpoint_url == running_world.server.url


@pytest.mark.parametrize("fault", ["reset_after", "server_error", "throttle"])
def test_a_write_is_sent_once_whatever_the_answer(hook, running_world, fault):
    package_id = running_world.publish(b"a, b\n", associate=False)
    running_world.control.reset_calls()
    running_world.control.fault(fault, "AssociatePackage", last=1)

    with pytest.raises((ClientError, HTTPClientError)):
        hook.writer.associate_package(PackageID=package_id, DomainName="products")

    assert running_world.control.calls() == {"AssociatePackage": 1}


def test_a_read_is_tried_again_by_botocore(hook, running_world):
    running_world.control.reset_calls()
    running_world.control.fault("server_error", "DescribePackages", last=1)

    hook.conn.describe_packages()

    assert running_world.control.calls() == {"DescribePackages": 2}


def test_settings_of_the_hook_hold_for_writes_too(running_world):
    hook = OpenSearchServiceHook(
        aws_conn_id="aws_default", region_name=REGION, config={"read_timeout": 7, "retries": {"max_attempts": 9}}
    )

    config: Any = hook.writer.meta.config

    assert config.read_timeout == 7
    assert config.retries["total_max_attempts"] == 1


def test_the_endpoint_of_the_connection_counts_for_both_clients(running_world, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_OPENSEARCH")
    monkeypatch.setenv(
        "AIRFLOW_CONN_ELSEWHERE",
        '{"conn_type": "aws", "extra": {"service_config": {"opensearch": {"endpoint_url": "http://127.0.0.1:9"}}}}',
    )
    hook = OpenSearchServiceHook(aws_conn_id="elsewhere", region_name=REGION)

    assert {client.meta.endpoint_url for client in (hook.conn, hook.writer)} == {"http://127.0.0.1:9"}
    with pytest.raises(EndpointConnectionError):
        hook.writer.associate_package(PackageID="F100000001", DomainName="products")
