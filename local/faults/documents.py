"""What a run sends, in its order: made from the seed alone, so that the referee knows it without the writer.

Imports nothing of what is tested.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple

BATCH_BYTES = 12_000
"""About 25 documents a request, so that 1,000 make some 50."""
REQUEST_BYTES = 30_000
_LARGE = "x" * (REQUEST_BYTES + 1)


class Scheme(StrEnum):
    """Version and deletes of the index of a run."""

    TOMBSTONES = "attribute, tombstone"
    NEVER = "attribute, never"
    ONCE = "once, never"
    SEQUENCE = "sequence, tombstone"

    @property
    def by_sequence(self) -> bool:
        return self is Scheme.SEQUENCE


class Flaw(StrEnum):
    """Why a document has to end as rejected."""

    NAN = "nan"
    SURROGATE = "surrogate"
    LONG_ID = "long_id"
    EMPTY_ID = "empty_id"
    NEGATIVE = "negative"
    TOO_GREAT = "too_great"
    FRACTION = "fraction"
    NO_ORDER = "no_order"
    TOO_LARGE = "too_large"
    KIND = "kind"
    """An update, or a delete where there are none."""
    UNREADABLE = "unreadable"
    """A line of the input that is no document."""
    MAPPING = "mapping"
    """The index alone can tell: a text where the mapping has a number."""
    NO_JSON = "no_json"
    """Bytes that are passed on unparsed; the node can not read them."""

    @property
    def known_by_node_alone(self) -> bool:
        return self in (Flaw.MAPPING, Flaw.NO_JSON)


class Sent(NamedTuple):
    """One line of the input. ``order`` is its version, or its sequence number; of a flawed one anything.

    ``raw`` says that the writer gets the source as bytes.
    """

    kind: str
    id: str
    order: Any
    source: Any = None
    routing: str | None = None
    raw: bool = False
    flaw: Flaw | None = None


def documents(seed: int, scheme: Scheme, count: int) -> list[Sent]:
    return list(_History(Random(f"documents {seed}"), scheme).draw(count))


@dataclass(slots=True)
class _History:
    """The life of some ids: index, delete, create again, the same once more, an older one, an equal version of other content."""

    random: Random
    scheme: Scheme
    newest: dict[str, Sent] = field(default_factory=dict)
    greatest: dict[str, int] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)

    def draw(self, count: int) -> Iterator[Sent]:
        ids = [f"{self._word()}-{number}" for number in range(max(4, count // 4))]
        for position in range(count):
            roll = self.random.random()
            if roll < 0.04:
                document = self._flawed(position, self.random.choice(ids))
            elif self.scheme is Scheme.ONCE:
                document = self._once(position, roll)
            else:
                document = self._next(position, self.random.choice(ids), roll)
            self.sent.append(document)
            yield document

    def _once(self, position: int, roll: float) -> Sent:
        """An event, or one of the last thirty once more."""
        good = [document for document in self.sent[-30:] if document.flaw is None]
        if good and roll < 0.25:
            return self.random.choice(good)
        kind = "create" if self.random.random() < 0.2 else "index"
        return self._document(kind, f"event-{position}", 1, position)

    def _next(self, position: int, id: str, roll: float) -> Sent:
        before = self.newest.get(id)
        top = self.greatest.get(id, 0)
        if before is None or roll < 0.55:
            document = self._document("index", id, top + self.random.randint(0 if before is None else 1, 3), position)
        elif roll < 0.72:
            deletes = self.scheme in (Scheme.TOMBSTONES, Scheme.SEQUENCE)
            kind = "delete" if deletes else "index"
            document = self._document(kind, id, top + 1, position)
        elif roll < 0.84:
            return before  # the same once more
        elif roll < 0.88:
            document = self._document("index", id, top, position)  # an equal version of other content: which one stays is open
        else:
            document = self._document("index", id, self.random.randint(0, top), position)
        number = self._number(document.order)
        if before is None or number >= top:
            self.newest[id], self.greatest[id] = document, number
        return document

    def _document(self, kind: str, id: str, number: int, position: int) -> Sent:
        source = None if kind == "delete" else self._source(position)
        return Sent(kind, id, self._order(number), source, routing_of(id), raw=self.random.random() < 0.5)

    def _source(self, position: int) -> dict[str, Any]:
        words = [self._word() for _ in range(self.random.randint(3, 60))]
        return {"n": position, "word": words[0], "text": " ".join(words), "price": self.random.randint(1, 10**6) / 100}

    def _order(self, number: int) -> Any:
        """A sequence number of 0 is what a bulk load writes beside a stream."""
        if not self.scheme.by_sequence:
            return number
        return str(_FIRST_SEQUENCE + number if number else 0)

    def _number(self, order: Any) -> int:
        return max(0, int(order) - _FIRST_SEQUENCE) if self.scheme.by_sequence else int(order)

    def _flawed(self, position: int, id: str) -> Sent:
        flaw = self.random.choice(self._flaws())
        id = f"event-{position}" if self.scheme is Scheme.ONCE else id
        number = 1 if self.scheme is Scheme.ONCE else self.greatest.get(id, 0) + self.random.randint(1, 3)
        good = self._document("index", id, number, position)._replace(flaw=flaw, raw=False)
        return good._replace(**self._damage(flaw, good))

    def _flaws(self) -> list[Flaw]:
        flaws = [Flaw.NAN, Flaw.SURROGATE, Flaw.LONG_ID, Flaw.EMPTY_ID, Flaw.TOO_LARGE, Flaw.KIND, Flaw.UNREADABLE]
        flaws += [Flaw.MAPPING, Flaw.NO_JSON] * 3  # the ones that travel
        if self.scheme is not Scheme.ONCE:
            flaws += [Flaw.NEGATIVE, Flaw.TOO_GREAT, Flaw.FRACTION, Flaw.NO_ORDER]
        return flaws

    def _damage(self, flaw: Flaw, good: Sent) -> Mapping[str, Any]:
        sequences = {Flaw.NEGATIVE: "-1", Flaw.TOO_GREAT: "9" * 41, Flaw.FRACTION: "12.7"}
        versions = {Flaw.NEGATIVE: -1, Flaw.TOO_GREAT: 2**63, Flaw.FRACTION: 12.7}
        orders: Mapping[Flaw, Any] = sequences if self.scheme.by_sequence else versions
        if flaw in orders:
            return {"order": orders[flaw]}
        never = self.scheme in (Scheme.NEVER, Scheme.ONCE)
        return {
            Flaw.NAN: {"source": good.source | {"price": float("nan")}},
            Flaw.SURROGATE: {"source": good.source | {"word": "\ud800"}},
            Flaw.LONG_ID: {"id": "語" * 171},
            Flaw.EMPTY_ID: {"id": ""},
            Flaw.NO_ORDER: {"order": None},
            Flaw.TOO_LARGE: {"source": good.source | {"text": _LARGE}},
            Flaw.KIND: {"kind": "delete", "source": None} if never else {"kind": "update", "source": {"doc": good.source}},
            Flaw.UNREADABLE: {"id": "", "source": None, "kind": "unreadable"},
            Flaw.MAPPING: {"source": good.source | {"n": "no number"}},
            Flaw.NO_JSON: {"source": json.dumps(good.source)[:-2].encode(), "raw": True},
        }[flaw]

    def _word(self) -> str:
        return "".join(self.random.choice(_SYLLABLES) for _ in range(self.random.randint(1, 3)))


_FIRST_SEQUENCE = 6_200_000_000_002_513_011_000
"""As long as those of AWS, which do not fit into 63 bits."""
_SYLLABLES = ("東京", "スカイ", "ツリー", "京都", "tower", "sky", "の", "寿司", "é", "line\nbreak", '"quoted"', "😀")


def routing_of(id: str) -> str | None:
    """A third of the ids has a routing of its own, the same each time: another one would make another document of it."""
    return f"shop-{len(id) % 5}" if sum(id.encode()) % 3 == 0 else None


def source_bytes(document: Sent) -> bytes:
    return document.source if isinstance(document.source, bytes) else json.dumps(document.source, ensure_ascii=False).encode()


def as_line(position: int, document: Sent) -> str:
    """For a person who looks at what a failed run has sent."""
    values = {"position": position, **document._asdict()}
    return json.dumps({name: value for name, value in values.items() if value not in (None, False)}, default=repr)
