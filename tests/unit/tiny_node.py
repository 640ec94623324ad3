"""A data plane as small as the tests of this tier need: real HTTP, but tokens by spaces or by the words of a user dictionary.

What it keeps of the real node: an index reads its files when it is opened, ``_meta`` is replaced as a whole, a closed index serves nobody,
``_analyze`` answers the tokens of several texts in one list with offsets in UTF-16 units, one unit and 100 positions apart.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.simulators.http import Application, Request, Response, json_response
from local.simulators.packages.node import uses

Component = Mapping[str, Any]


class Refusal(Exception):
    def __init__(self, reason: str, cause: str = "", status: int = 400, kind: str = "illegal_argument_exception") -> None:
        super().__init__(reason)
        self.status = status
        self.error = {"type": kind, "reason": reason, **({"caused_by": {"type": kind, "reason": cause}} if cause else {})}


@dataclass
class Index:
    analysis: Mapping[str, Any]
    mappings: dict[str, Any] = field(default_factory=dict)
    aliases: Sequence[str] = ()
    closed: bool = False
    files: dict[str, bytes] = field(default_factory=dict)  # as it read them when it was opened

    def definition(self) -> dict[str, Any]:
        settings = {
            "analysis": self.analysis,
            "number_of_replicas": "0",
            **({"verified_before_close": "true"} if self.closed else {}),
        }
        return {"aliases": {alias: {} for alias in self.aliases}, "mappings": self.mappings, "settings": {"index": settings}}


class TinyNode:
    """Files, indexes, and what the package service does to them (``install``, ``remove``, ``users``)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.indexes: dict[str, Index] = {}
        self.data_nodes = 1
        self.max_tokens = 10_000
        self.health: dict[str, Any] = {"status": "green"}
        self.statuses: dict[tuple[str, str], int] = {}  # (method, path) -> an HTTP status to answer instead
        self._lock = threading.Lock()
        self.application = self._routes()

    def index(self, name: str, analysis: Mapping[str, Any], aliases: Sequence[str] = (), **mappings: Any) -> Index:
        """Make an index, which reads its files as they are."""
        made = self.indexes[name] = Index(analysis, mappings, aliases, files=dict(self.files))
        return made

    def tokens(self, index: str, analyzer: str, text: str) -> list[str]:
        return [token["token"] for token in self._analyzed(self.indexes[index], {"analyzer": analyzer}, [text])]

    # What the package service does

    def install(self, package_id: str, content: bytes, *, reload: bool) -> None:
        path = f"analyzers/{package_id}"
        with self._lock:
            self.files[path] = content
            for index in self.indexes.values() if reload else ():
                mine = [use for use in uses(index.analysis) if use.package_id == package_id]
                if mine and all(use.updateable for use in mine) and not index.closed:
                    index.files[path] = content

    def remove(self, package_id: str) -> None:
        self.files.pop(f"analyzers/{package_id}", None)

    def users(self, package_id: str) -> list[str]:
        return [name for name, index in self.indexes.items() if any(use.package_id == package_id for use in uses(index.analysis))]

    # HTTP

    def _routes(self) -> Application:
        app = Application("tiny node")
        routes: Mapping[tuple[str, str], Any] = {
            ("GET", "/*"): lambda request: {name: index.definition() for name, index in self.indexes.items()},
            ("GET", "/_cluster/health"): lambda request: {"number_of_data_nodes": self.data_nodes},
            ("GET", "/_cluster/health/{index}"): lambda request: self.health,
            ("POST", "/_analyze"): self._analyze,
            ("POST", "/{index}/_analyze"): self._analyze,
            ("GET", "/{index}/_mapping"): self._mapping,
            ("PUT", "/{index}/_mapping"): self._put_mapping,
            ("POST", "/{index}/_close"): self._close,
            ("POST", "/{index}/_open"): self._open,
        }
        for (method, path), handler in routes.items():
            app.route(method, path, self._answering(handler), f"{method} {path}")
        return app

    def _answering(self, handler: Any) -> Any:
        def answer(request: Request) -> Response:
            try:
                if status := self.statuses.get((request.method, request.path)):
                    raise Refusal("ordered by the test", status=status)
                with self._lock:
                    return json_response(handler(request))
            except Refusal as refusal:
                return json_response({"error": refusal.error, "status": refusal.status}, refusal.status)

        return answer

    def _of(self, request: Request) -> Index:
        name = request.parameters["index"]
        if name not in self.indexes:
            raise Refusal(f"no such index [{name}]", status=404, kind="index_not_found_exception")
        return self.indexes[name]

    def _mapping(self, request: Request) -> Any:
        return {request.parameters["index"]: {"mappings": self._of(request).mappings}}

    def _put_mapping(self, request: Request) -> Any:
        self._of(request).mappings.update(json.loads(request.body))
        return {"acknowledged": True}

    def _close(self, request: Request) -> Any:
        self._of(request).closed = True
        return {"acknowledged": True}

    def _open(self, request: Request) -> Any:
        index = self._of(request)
        opened = Index(index.analysis, files=dict(self.files))
        for analyzer in index.analysis.get("analyzer", {}):
            self._analyzed(opened, {"analyzer": analyzer}, ["x"])
        index.closed, index.files = False, opened.files
        return {"acknowledged": True}

    def _analyze(self, request: Request) -> Any:
        body = request.json()
        index = self._of(request) if "index" in request.parameters else Index({})
        if index.closed:
            raise Refusal("closed", kind="index_closed_exception")
        return {"tokens": self._analyzed(index, body, body["text"])}

    # Analysis

    def _analyzed(self, index: Index, body: Mapping[str, Any], texts: Sequence[str]) -> list[dict[str, Any]]:
        inline = "analyzer" not in body
        analyzer = body if inline else index.analysis["analyzer"][body["analyzer"]]
        tokenizer = self._component(index, "tokenizer", analyzer.get("tokenizer", "standard"))
        filters = [self._component(index, "filter", name) for name in analyzer.get("filter", [])]
        found, offset, position = [], 0, 0
        for text in texts:
            tokens = self._tokens(tokenizer, text)
            for one in filters:
                tokens = _filtered(one, self._lines(one), tokens)
            found += [
                {"token": term, "start_offset": offset + start, "end_offset": offset + end, "position": position + place}
                for term, start, end, place in tokens
            ]
            if len(found) > self.max_tokens:
                raise Refusal(
                    f"The number of tokens produced by calling _analyze has exceeded the allowed maximum of [{self.max_tokens}].",
                    status=500,
                )
            offset += _units(text) + 1
            position += 100 + max((place for *_, place in tokens), default=0)
        return found

    def _component(self, index: Index, kind: str, name: str | Component) -> Component:
        """A component with its lines: of the index as it read them, of an inline one as the file is now."""
        if isinstance(name, str):
            component = index.analysis.get(kind, {}).get(name, {"type": name})
            return {**component, "files": index.files}
        return {**name, "files": self.files}

    @staticmethod
    def _lines(component: Component) -> list[str]:
        for inline, path in (
            ("synonyms", "synonyms_path"),
            ("user_dictionary_rules", "user_dictionary"),
            ("stopwords", "stopwords_path"),
        ):
            if inline in component:
                return list(component[inline])
            if path in component:
                if component[path] not in component["files"]:
                    raise Refusal("failed to build", f"{component[path]}: no such file", 500)
                return [line for line in component["files"][component[path]].decode().split("\n") if line and line[0] != "#"]
        return []

    def _tokens(self, tokenizer: Component, text: str) -> list[tuple[str, int, int, int]]:
        words = sorted((line.split(",")[0] for line in self._lines(tokenizer)), key=len, reverse=True)
        if len(set(words)) < len(words):
            raise Refusal("failed to build", "Found duplicate term in user dictionary", 500)
        pattern = "|".join(map(re.escape, words)) + r"|\S" if tokenizer["type"] == "kuromoji_tokenizer" else r"\S+"
        matches = enumerate(re.finditer(pattern.lstrip("|"), text))
        return [(m[0], _units(text[: m.start()]), _units(text[: m.end()]), place) for place, m in matches]


def _filtered(
    component: Component, lines: Sequence[str], tokens: Sequence[tuple[str, int, int, int]]
) -> list[tuple[str, int, int, int]]:
    match component["type"]:
        case "lowercase":
            return [(term.lower(), *rest) for term, *rest in tokens]
        case "stop":
            return [token for token in tokens if token[0] not in lines]
        case "synonym" | "synonym_graph":
            if bad := [line for line in lines if line.count("=>") > 1]:
                raise Refusal("failed to build synonyms", f"more than one explicit mapping: {bad[0]}")
            groups = [{word.strip() for word in re.split(",|=>", line)} for line in lines]
            return [
                (term, *rest)
                for token, *rest in tokens
                for term in sorted({token}.union(*(group for group in groups if token in group)))
            ]
    raise Refusal(f"Unknown filter [{component['type']}]")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
