"""Amazon's services of the local cloud: moto's server for S3, SQS, Lambda settings, IAM, STS and SNS, and the environment that leads boto3 to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local.processes import LOOPBACK, Service, answers

REGION = "ap-northeast-1"
# Nothing listens there: without moto a client gets an error, never the real AWS.
NOWHERE = f"http://{LOOPBACK}:9"
# What a shell may hold that would go before the local cloud's variables or stand in their way.
VARIABLES_TO_UNSET = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CA_BUNDLE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)


def moto(url: str, environment: Mapping[str, str], logs: Path) -> Service:
    """Return moto's server; it keeps everything in memory."""
    return Service(
        name="aws",
        command=[sys.executable, "-m", "local.moto_server", "-H", LOOPBACK, "-p", url.rpartition(":")[2]],
        environment=environment,
        log=logs / "aws.log",
        directory=Path(__file__).resolve().parent.parent,
        is_ready=lambda: answers(f"{url}/moto-api/"),
        stop_seconds=3,
    )


def client_environment(endpoints: Mapping[str, str]) -> dict[str, str]:
    """Return what leads boto3 to the local cloud, with credentials that are worth nothing elsewhere.

    The files of the user's AWS profiles are out of reach: a profile named there could bring real credentials or a proxy with it.
    """
    functions = {"AWS_ENDPOINT_URL_LAMBDA": url} if (url := endpoints.get("functions")) else {}
    return functions | {
        "AWS_ENDPOINT_URL": endpoints.get("aws", NOWHERE),
        "AWS_ENDPOINT_URL_OPENSEARCH": endpoints.get("packages", NOWHERE),
        "AWS_ENDPOINT_URL_FIREHOSE": endpoints.get("firehose", NOWHERE),
        "AWS_ENDPOINT_URL_DYNAMODB": endpoints.get("dynamodb_proxy", endpoints.get("dynamodb", NOWHERE)),
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": endpoints.get("dynamodb", NOWHERE),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def without_inherited_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what would lead a child to a real account or to another Airflow, and with loopback past any proxy."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("AWS_", "AIRFLOW_", "SEARCHOPS_"))}
    return kept | loopback_past_proxies(environ)


def loopback_past_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    inherited = environ.get("no_proxy") or environ.get("NO_PROXY")
    hosts = ",".join(filter(None, [inherited, LOOPBACK, "localhost"]))
    return {"no_proxy": hosts, "NO_PROXY": hosts}
