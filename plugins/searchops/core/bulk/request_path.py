"""The request path: what an API's function is asked to write, and what it answers for each document.

The function is include/lambda/bulk_writer. A request is a list of operations, or an object that has them under ``operations``:

    {"op": "index", "id": "p1", "version": 7, "routing": "tokyo", "document": {…}}
    {"op": "delete", "id": "p2", "version": 8}

It comes as the event itself, or as the body of an HTTP request (API Gateway, function URL, load balancer).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from searchops.core.bulk.indexer import Written
from searchops.core.bulk.model import Operation, Unreadable, delete, index
from searchops.core.bulk.scheme import Scheme, VersionScheme
from searchops.core.errors import DataError, SearchOpsError

MAX_OPERATIONS = 2_000
"""So that the answer, with ids of 512 bytes and reasons, stays below the 6 MB that Lambda lets it have."""
MAX_BODY_BYTES = 6 * 2**20
"""What Lambda takes in one synchronous invocation (Lambda developer guide, "Quotas")."""
REFRESH = ("wait_for", "true", "false")
RETRIABLE = "retriable"
_MOST_REASON = 300
_FIELDS = {"op", "id", "version", "sequence", "routing", "document"}


class BadRequest(DataError):
    """No operations can be read from it. ``status``: of HTTP."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """
    :param operations: by position; what is no operation ends as rejected, alone
    :param ids: by position, "" where there is none
    :param refresh: None where the request does not say
    """

    operations: Sequence[Operation | Unreadable]
    ids: Sequence[str]
    refresh: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    :param written: None: nothing is known of any document
    :param why: why documents are to be sent again
    :param manifests: where the manifests of this request are, if there are any
    """

    request: WriteRequest
    written: Written | None = None
    why: str = ""
    manifests: Mapping[str, str] = field(default_factory=dict)


def is_http(event: Any) -> bool:
    """Whether the event is an HTTP request, which is answered in the form that its sender expects."""
    return isinstance(event, Mapping) and "requestContext" in event


def read_request(event: Any, scheme: Scheme) -> WriteRequest:
    """
    :raises BadRequest: there are no operations in it, or too many
    """
    content = _body(event) if is_http(event) else event
    asked = _query(event).get("refresh") if is_http(event) else None
    if isinstance(content, Mapping):
        if unknown := sorted(set(content) - {"operations", "refresh"}):
            raise BadRequest(f"expected operations and perhaps refresh, found {', '.join(map(str, unknown))} as well")
        asked = content.get("refresh", asked)
        content = content.get("operations")
    if not isinstance(content, list):
        raise BadRequest(f'expected a list of operations, or {{"operations": […]}}, found {_kind(content)}')
    if len(content) > MAX_OPERATIONS:
        raise BadRequest(f"expected at most {MAX_OPERATIONS:,} operations, found {len(content):,}: send them in parts", 413)
    if asked is not None and asked not in REFRESH:
        raise BadRequest(f"refresh: expected one of {', '.join(REFRESH)}, found {asked!r}")
    return WriteRequest([_operation(entry, scheme) for entry in content], [_id_of(entry) for entry in content], asked)


def answer(outcome: Outcome) -> dict[str, Any]:
    """200: every document has its end. 207: some have. 503: none has, or nothing is known. What has none is under ``retriable``."""
    documents = _documents(outcome)
    counts = Counter(document["end"] for document in documents)
    again = [{"position": document["position"], "id": document["id"]} for document in documents if document["end"] == RETRIABLE]
    status = 200 if not again else 207 if len(again) < len(documents) else 503
    ends = ("indexed", "superseded", "rejected", "handed_over", RETRIABLE)
    return {
        "status": status,
        "counts": {"accepted": len(documents), **{end: counts[end] for end in ends}},
        "documents": documents,
        **({"retriable": again, "why": outcome.why} if again else {}),
        **({"manifests": dict(outcome.manifests)} if counts["handed_over"] else {}),
    }


def refusal(error: BadRequest) -> dict[str, Any]:
    return {"status": error.status, "error": str(error)}


def http_response(answer: Mapping[str, Any]) -> dict[str, Any]:
    """In the form that API Gateway (proxy integration, both payload formats), function URLs and load balancers take."""
    headers = {"content-type": "application/json"}
    if "retriable" in answer:
        headers["retry-after"] = "1"
    body = orjson.dumps(answer).decode()
    return {"statusCode": answer["status"], "headers": headers, "body": body, "isBase64Encoded": False}


def why(error: SearchOpsError) -> str:
    """Say why documents are to be sent again, with the cluster's words where it has said some."""
    return f"{error}: {error.reason}" if error.reason and error.reason not in str(error) else str(error)


def _body(event: Mapping[str, Any]) -> Any:
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise BadRequest(f"body: expected a text, found {_kind(body)}")
    try:
        content = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
        if len(content) > MAX_BODY_BYTES:
            raise BadRequest(f"body: expected at most {MAX_BODY_BYTES:,} bytes, found {len(content):,}: send it in parts", 413)
        # Not orjson: it reads whole numbers of more than 64 bits as floats, and refuses the whole body for one lone surrogate. A number
        # with a fraction goes on as it stands: a float has 17 digits, and would make 1.1 of 1.10.
        return json.loads(content, parse_float=orjson.Fragment)
    except binascii.Error as error:
        raise BadRequest(f"body: expected base64, which isBase64Encoded says, found other: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body: expected JSON, found other: {error}") from error


def _query(event: Mapping[str, Any]) -> Mapping[str, Any]:
    given = event.get("queryStringParameters")
    return given if isinstance(given, Mapping) else {}


def _operation(entry: Any, scheme: Scheme) -> Operation | Unreadable:
    try:
        return _read(entry, scheme)
    except ValueError as error:
        return Unreadable(str(error), b"")


def _read(entry: Any, scheme: Scheme) -> Operation:
    """:raises ValueError: what is wrong with it"""
    if not isinstance(entry, Mapping):
        raise ValueError(f"expected an object, found {_kind(entry)}")
    if unknown := sorted(set(entry) - _FIELDS):
        raise ValueError(f"{unknown[0]}: expected one of {', '.join(sorted(_FIELDS))}")
    op, id, document = entry.get("op"), entry.get("id"), entry.get("document")
    if op not in ("index", "delete"):
        raise ValueError(f"op: expected index or delete, found {op!r}")
    if not isinstance(id, str):
        raise ValueError(f"id: expected a text, found {_kind(id)}")
    routing = _text(entry, "routing")
    if op == "delete":
        if document is not None:
            raise ValueError("document: a delete has none")
        return delete(id, version=_version(entry, {}, scheme), routing=routing, sequence=_sequence(entry, scheme))
    if not isinstance(document, Mapping):
        raise ValueError(f"document: expected an object, found {_kind(document)}")
    version = _version(entry, document, scheme)
    return index(id, document, version=version, routing=routing, sequence=_sequence(entry, scheme))


def _version(entry: Mapping[str, Any], document: Mapping[str, Any], scheme: Scheme) -> int | None:
    """The version that is given, or that the document has in its attribute; the two have to agree."""
    given = entry.get("version")
    if scheme.version is not VersionScheme.ATTRIBUTE:
        if given is not None:
            raise ValueError(f"version: the index has version scheme {scheme.version.value}, which takes none")
        return None
    held = document.get(scheme.attribute)
    if given is None:
        given = held
    elif held is not None and (held != given or isinstance(held, bool)):
        raise ValueError(f"version: expected that of the document's {scheme.attribute}, {_shown(held)}, found {_shown(given)}")
    if type(given) is not int:
        raise ValueError(f"version: expected a whole number, here or in the document's {scheme.attribute}, found {_shown(given)}")
    return given


def _sequence(entry: Mapping[str, Any], scheme: Scheme) -> str | None:
    sequence = _text(entry, "sequence")
    if sequence is not None and scheme.version is not VersionScheme.SEQUENCE:
        raise ValueError(f"sequence: the index has version scheme {scheme.version.value}, which takes none")
    return sequence


def _text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: expected a text, found {_kind(value)}")
    return value


def _id_of(entry: Any) -> str:
    id = entry.get("id") if isinstance(entry, Mapping) else None
    # As it is told in the answer, which a lone surrogate would make impossible to send.
    return id.encode(errors="replace").decode() if isinstance(id, str) else ""


def _documents(outcome: Outcome) -> list[dict[str, Any]]:
    ids, written = outcome.request.ids, outcome.written
    if written is None:
        return [{"position": position, "id": id, "end": RETRIABLE} for position, id in enumerate(ids)]
    rejected = {document.position: document for document in written.rejected}
    documents = []
    for position, (id, end) in enumerate(zip(ids, written.ends, strict=True)):
        document: dict[str, Any] = {"position": position, "id": id, "end": end.value if end else RETRIABLE}
        if told := rejected.get(position):
            document |= {"kind": told.kind, "reason": told.reason.encode(errors="replace").decode()[:_MOST_REASON]}
        documents.append(document)
    return documents


def _shown(value: Any) -> str:
    return _kind(value) if isinstance(value, orjson.Fragment) else repr(value)


def _kind(value: Any) -> str:
    names = {
        orjson.Fragment: "a number with a fraction",
        type(None): "nothing",
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
    }
    return names.get(type(value), f"a {type(value).__name__}")
