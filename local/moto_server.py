"""moto's server, with event source mappings of streams that it does not have: ``python -m local.moto_server``, arguments as moto's.

The tables of the local cloud are in DynamoDB Local, so that moto knows none of their streams and would refuse to map them to functions.
It keeps the mapping, as of its own streams, and does nothing with it: records are delivered by ``local.simulators.streams``.
"""

from __future__ import annotations

import sys
from typing import Any

from moto.awslambda import models
from moto.awslambda.exceptions import ConflictException
from moto.server import main

# What Lambda says of a mapping for which nobody has set it (API reference, EventSourceMappingConfiguration).
DEFAULTS = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "ParallelizationFactor": 1,
    "MaximumRetryAttempts": -1,
    "MaximumRecordAgeInSeconds": -1,
    "BisectBatchOnFunctionError": False,
    "TumblingWindowInSeconds": 0,
    "DestinationConfig": {"OnFailure": {}},
    "FunctionResponseTypes": [],
}
_of_motos_own = models.LambdaBackend.create_event_source_mapping


def create_event_source_mapping(self: models.LambdaBackend, spec: dict[str, Any]) -> models.EventSourceMapping:
    if not _is_of_dynamodb_local(spec.get("EventSourceArn", "")):
        return _of_motos_own(self, spec)
    function = self._lambdas.get_function_by_name_or_arn_with_qualifier(spec.get("FunctionName", ""))
    for known in self._event_source_mappings.values():
        if (known.function_arn, known.event_source_arn) == (function.function_arn, spec["EventSourceArn"]):
            raise ConflictException(
                f'The event source arn (" {known.event_source_arn} ") and function (" {function.function_name} ") provided mapping '
                f"already exists. Please update or delete the existing mapping with UUID {known.uuid}",
            )
    of = {"FunctionName": function.function_name, "FunctionArn": function.function_arn}
    place = {"RegionName": self.region_name, "AccountId": self.account_id}
    mapping = models.EventSourceMapping({**DEFAULTS, **spec, **of, **place})  # type: ignore[abstract]
    self._event_source_mappings[mapping.uuid] = mapping
    return mapping


def _is_of_dynamodb_local(arn: str) -> bool:
    return arn.startswith("arn:aws:dynamodb:ddblocal:") and "/stream/" in arn


if __name__ == "__main__":
    models.LambdaBackend.create_event_source_mapping = create_event_source_mapping  # type: ignore[method-assign]
    main(sys.argv[1:])
