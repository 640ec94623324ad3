"""The data plane of a domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from searchops.inventory import Domain, WrittenIndex


class OpenSearchDomainHook(BaseHook):
    """An opensearch-py client for one domain, from a connection of type ``opensearch``.

    TLS is verified unless the connection's extra says ``"verify_certs": false``; a plain http endpoint needs ``"use_ssl": false``. With a login the
    client uses it, without one it signs requests with the AWS connection (SigV4). It never sends a request twice by itself: opensearch-py would
    repeat a write whose answer was lost.

    :param endpoint: gives the domain's URL where the connection has no host
    """

    conn_type = "opensearch"

    def __init__(
        self,
        *,
        opensearch_conn_id: str,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        endpoint: Callable[[], str] | None = None,
        timeout_seconds: float = 30,
    ) -> None:
        super().__init__()
        self.opensearch_conn_id = opensearch_conn_id
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.endpoint = endpoint
        self.timeout_seconds = timeout_seconds

    @cached_property
    def client(self) -> OpenSearch:
        from opensearchpy import OpenSearch, RequestsHttpConnection

        connection = self.get_connection(self.opensearch_conn_id)
        extra = connection.extra_dejson
        host, port, use_ssl = self._address(connection, _flag(extra, "use_ssl"))
        return OpenSearch(
            hosts=[{"host": host, "port": port, "url_prefix": extra.get("url_prefix", "")}],
            http_auth=(connection.login, connection.password or "") if connection.login else self._signer(use_ssl),
            use_ssl=use_ssl,
            verify_certs=_flag(extra, "verify_certs"),
            ca_certs=extra.get("ca_certs"),
            timeout=self.timeout_seconds,
            connection_class=RequestsHttpConnection,
            max_retries=0,
            retry_on_timeout=False,
        )

    def _address(self, connection: Any, use_ssl: bool) -> tuple[str, int, bool]:
        if connection.host:
            return connection.host, connection.port or (443 if use_ssl else 9200), use_ssl
        if self.endpoint is None:
            raise ValueError(
                f"connection {self.opensearch_conn_id} has no host: give it one, or name the domain so that it can be looked up"
            )
        url = urlsplit(self.endpoint())
        return str(url.hostname), url.port or (443 if url.scheme == "https" else 80), url.scheme == "https"

    def _signer(self, use_ssl: bool) -> Any:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        from opensearchpy import RequestsAWSV4SignerAuth

        if not use_ssl:
            return None  # a signature over a plain connection proves nothing; only a local node is spoken to like this
        session = AwsBaseHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name, client_type="es").get_session()
        return RequestsAWSV4SignerAuth(session.get_credentials(), self.region_name or session.region_name, "es")


def domain_client(place: Domain | WrittenIndex, service: Callable[[], Any], *, timeout_seconds: float = 30) -> OpenSearch:
    """A client for the domain of an inventory entry.

    :param service: gives the client of the OpenSearch Service API, to look the endpoint up where the connection has no host
    """
    from searchops.core.dictionary.service import drive, read_endpoint

    hook = OpenSearchDomainHook(
        opensearch_conn_id=place.opensearch_conn_id,
        aws_conn_id=place.aws_conn_id,
        region_name=place.region,
        endpoint=lambda: drive(service(), read_endpoint(place.domain_name)),
        timeout_seconds=timeout_seconds,
    )
    return hook.client


def _flag(extra: Mapping[str, Any], name: str) -> bool:
    """A flag that is on unless said otherwise; a connection that is given as a URI holds texts only."""
    return str(extra.get(name, True)).lower() not in ("false", "0", "")
