"""The REST-JSON face of the simulator, and its control routes.

Routes, parameters, limits and status codes are taken from botocore's own model of the service, so that what a client may send and must
get is written down in one place, which is not this one.

Control routes besides those of ``local.simulators.http`` (JSON; times in epoch seconds):

======================================  =======================================================================================
``POST /_control/reset``                forgets packages, associations, domains, faults, calls, settings; ids start again
``POST /_control/domains``              ``{"name", "endpoint": null, "serial_only": true}`` makes or changes a domain
``POST /_control/settings``             changes settings (see ``settings.Settings``), answers with all of them
``POST /_control/durations``            the same for ``{"copying", "validating", "associating", …}`` in seconds
``POST /_control/speed``                ``{"speed": 60}``: service times pass that much faster, for what begins from now on
``GET /_control/transitions``           every change of state with the moment at which it could be seen first
``GET, POST, DELETE /_control/faults``  the faults; POST takes a list (see ``faults``), DELETE also ends states that never end
======================================  =======================================================================================
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape

from local.simulators.http import Application, BadRequest, ConnectionReset, Request, Response, json_response
from local.simulators.packages.faults import OPERATIONS, CallFaults, Fault, FaultBook
from local.simulators.packages.model import Domain
from local.simulators.packages.service import PackageService, ServiceError

# For operations that do not list the exception (api reference, common errors); with BaseException the model gives no status at all.
_STATUS = {"BaseException": 400, "AccessDeniedException": 403, "LimitExceededException": 409}

_ORDERED = {
    "throttle": ("ThrottlingException", 429, "Rate exceeded"),
    "access_denied": ("AccessDeniedException", 403, "User is not authorized to perform this operation"),
    "server_error": ("InternalException", None, "Internal failure"),
}


def service_model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("opensearch")


def application(service: PackageService) -> Application:
    """The API and the control routes over a service."""
    app = Application("packages")
    faults = FaultBook()
    model = service_model()
    for name in sorted(OPERATIONS):
        operation = model.operation_model(name)
        handler = _Operation(operation, getattr(service, xform_name(name)), faults)
        app.route(operation.http["method"], operation.http["requestUri"], handler, name)
    _add_control(app, service, faults)
    return app


class _Operation:
    """One operation: reads the request by the model, lets its faults happen, answers by the model."""

    def __init__(self, operation: OperationModel, act: Callable[..., dict[str, Any]], faults: FaultBook) -> None:
        self._operation = operation
        self._act = act
        self._faults = faults

    def __call__(self, request: Request) -> Response:
        parameters = read_parameters(self._operation, request)
        faults = self._faults.for_call(self._operation.name, parameters)
        if seconds := faults.seconds("slow"):
            time.sleep(seconds)
        if faults.find("reset"):
            raise ConnectionReset
        response = self._answer(parameters, faults)
        if faults.find("reset_after"):
            raise ConnectionReset
        return response

    def _answer(self, parameters: Mapping[str, Any], faults: CallFaults) -> Response:
        try:
            _raise_ordered(faults)
            if violations := check(self._operation.input_shape, parameters):
                raise ServiceError("ValidationException", f"{len(violations)} validation error detected: {'; '.join(violations)}")
            return json_response(self._act(parameters, faults), headers=_request_id())
        except ServiceError as error:
            return self._error(error)

    def _error(self, error: ServiceError) -> Response:
        """REST-JSON: the name in ``x-amzn-errortype``. ResourceNotFoundException is HTTP 409 here, says the model."""
        listed = {shape.name: shape.metadata.get("error", {}).get("httpStatusCode") for shape in self._operation.error_shapes}
        status = error.status or listed.get(error.code) or _STATUS[error.code]
        return json_response({"message": error.message}, status, {"x-amzn-errortype": error.code, **_request_id()})


def _request_id() -> dict[str, str]:
    return {"x-amzn-RequestId": secrets.token_hex(16)}


def _raise_ordered(faults: CallFaults) -> None:
    fault = faults.find("throttle", "server_error", "access_denied")
    if fault is None:
        return
    code, status, message = _ORDERED[fault.kind]
    if fault.kind == "server_error" and fault.status == 503:
        code = "ServiceUnavailable"
    raise ServiceError(fault.code or code, fault.message or message, status or fault.status)


def read_parameters(operation: OperationModel, request: Request) -> dict[str, Any]:
    """The parameters of a call, by the places that the model gives them: path, query string, body."""
    shape = operation.input_shape
    assert isinstance(shape, StructureShape), operation.name
    body = request.json() if request.body else {}
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        place = member.serialization.get("location", "body")
        wire_name = member.serialization.get("name", name)
        if place == "uri":
            found[name] = request.parameters.get(wire_name)
        elif place == "querystring":
            value = request.query.get(wire_name, [None])[0]
            found[name] = int(value) if value is not None and member.type_name == "integer" else value
        else:
            found[name] = body.get(wire_name)
    return {name: value for name, value in found.items() if value is not None}


def check(shape: Shape | None, value: Any, path: str = "") -> list[str]:
    """What the model forbids in a value. The service checks limits, patterns and enums that botocore lets through."""
    if isinstance(shape, StructureShape):
        missing = [
            f"Value at '{path}{name}' failed to satisfy constraint: Member must not be null"
            for name in shape.required_members
            if name not in value
        ]
        return missing + [
            problem
            for name, member in shape.members.items()
            if name in value
            for problem in check(member, value[name], f"{path}{name}.")
        ]
    if isinstance(shape, ListShape):
        return [problem for index, item in enumerate(value) for problem in check(shape.member, item, f"{path}{index + 1}.")]
    return [f"Value '{value}' at '{path.rstrip('.')}' failed to satisfy constraint: {rule}" for rule in _broken(shape, value)]


def _broken(shape: Shape | None, value: Any) -> list[str]:
    if shape is None:
        return []
    limits = shape.metadata
    size, unit = (len(value), "length") if isinstance(value, str) else (value, "value")
    rules = []
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        rules.append(f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    if "min" in limits and size < limits["min"]:
        rules.append(f"Member must have {unit} greater than or equal to {limits['min']}")
    if "max" in limits and size > limits["max"]:
        rules.append(f"Member must have {unit} less than or equal to {limits['max']}")
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
        rules.append(f"Member must satisfy regular expression pattern: {limits['pattern']}")
    return rules


def _add_control(app: Application, service: PackageService, faults: FaultBook) -> None:
    def reset(_: Request) -> Response:
        faults.clear()
        service.reset()
        app.log.clear()
        return json_response({})

    def put_domain(request: Request) -> Response:
        domain = _parsed(lambda: Domain(**request.json()))
        service.put_domain(domain)
        return json_response(asdict(domain))

    def configure(values: Any) -> Response:
        return json_response(asdict(_parsed(lambda: service.configure(values))))

    def order(request: Request) -> Response:
        faults.order(_parsed(lambda: [Fault.parse(values) for values in request.json()]))
        return json_response(_shown(faults))

    def clear(_: Request) -> Response:
        faults.clear()
        service.release()
        return json_response([])

    app.route("POST", "/_control/reset", reset)
    app.route("POST", "/_control/domains", put_domain)
    app.route("POST", "/_control/settings", lambda request: configure(request.json()))
    app.route("POST", "/_control/durations", lambda request: configure({"durations": request.json()}))
    app.route("POST", "/_control/speed", lambda request: configure(request.json()))
    app.route("GET", "/_control/transitions", lambda _: json_response([asdict(row) for row in service.transitions()]))
    app.route("GET", "/_control/faults", lambda _: json_response(_shown(faults)))
    app.route("POST", "/_control/faults", order)
    app.route("DELETE", "/_control/faults", clear)


def _shown(faults: FaultBook) -> list[dict[str, Any]]:
    return [asdict(fault) for fault in faults.ordered()]


def _parsed(parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except (TypeError, ValueError, json.JSONDecodeError) as error:
        raise BadRequest(str(error)) from error
