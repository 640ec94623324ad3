"""Put the clients of a Lambda function and its inventory entry together to what `searchops.core.functions` works with."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from searchops.inventory import Defaults, Function

if TYPE_CHECKING:
    from searchops.core.functions.redrive import Redrive
    from searchops.core.functions.service import RetrySettings
    from searchops.core.functions.settings import Policy


INVOKE_SECONDS = 10
"""How long to wait for Lambda's answer: far shorter than the lease of the claim under which an event is sent."""


def client(service: str, aws_conn_id: str, region: str | None, **options: Any) -> Any:
    """
    :param options: of a botocore ``Config``, over those of the connection
    """
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from botocore.config import Config

    hook = AwsBaseHook(aws_conn_id=aws_conn_id, region_name=region, client_type=service)
    return hook.get_client_type(hook.region_name, hook.config.merge(Config(**options)))


class HomeClients:
    """The clients of the bucket and of the table of claims, each made when it is first needed."""

    def __init__(self, home: Defaults) -> None:
        self.home = home

    @cached_property
    def s3(self) -> Any:
        return client("s3", self.home.aws_conn_id, self.home.region)

    @cached_property
    def dynamodb(self) -> Any:
        return client("dynamodb", self.home.aws_conn_id, self.home.region)


class FunctionClients(HomeClients):
    """Those of one function as well."""

    def __init__(self, function: Function) -> None:
        super().__init__(function.home)
        self.function = function

    @cached_property
    def functions(self) -> Any:
        return client("lambda", self.function.aws_conn_id, self.function.region)

    @cached_property
    def invoker(self) -> Any:
        """For Invoke alone, which botocore's own retries would do twice when an answer is lost."""
        once = {"total_max_attempts": 1, "mode": "standard"}
        place = (self.function.aws_conn_id, self.function.region)
        return client("lambda", *place, retries=once, connect_timeout=INVOKE_SECONDS, read_timeout=INVOKE_SECONDS)

    def sqs(self, region: str) -> Any:
        return client("sqs", self.function.aws_conn_id, region)

    def settings(self) -> RetrySettings:
        from searchops.core.functions.service import RetrySettings

        return RetrySettings(policy_of(self.function), self.functions, self.sqs)

    def redrive(self) -> Redrive:
        from searchops.core.functions.queue import FailedEventQueue
        from searchops.core.functions.redrive import KEEP, Redrive, object_keys
        from searchops.core.idempotency.guard import Guard

        function, arn = self.function, self.function.failed_events
        if arn is None:
            raise ValueError(f"{function.key}: expected kind asynchronous and a queue as on_failure")
        place = {"client": self.dynamodb, "table": function.home.claims_table}
        return Redrive(
            FailedEventQueue(self.sqs(arn.split(":")[3]), arn),
            self.invoker,
            Guard(**place, namespace=f"redrive-{function.key}", keep=KEEP),
            function=function.function,
            events=(Guard(**place, namespace=function.namespace), object_keys) if function.namespace else None,
        )


def policy_of(function: Function) -> Policy:
    from searchops.core.functions.settings import Kind, Policy

    return Policy(
        function=function.function,
        kind=Kind(function.kind),
        qualifier=function.qualifier,
        source=function.source,
        retries=function.retries,
        max_event_age=int(function.max_event_age.total_seconds()) if function.max_event_age else None,
        on_failure=function.on_failure,
        bisect=function.bisect,
        report_batch_item_failures=function.report_batch_item_failures,
        parallelization_factor=function.parallelization_factor,
        lease=function.lease.total_seconds() if function.lease else None,
        claims=function.namespace is not None,
    )
