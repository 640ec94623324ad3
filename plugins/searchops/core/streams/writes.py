"""What a stream record means for an index: the write that it is, by the index's scheme of id, version and deletes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from searchops.core.bulk.dynamodb_json import attributes, to_plain
from searchops.core.bulk.ids import Unfit, document_id, id_values, version_of, version_of_delete
from searchops.core.bulk.model import Operation, delete, index
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.errors import DataError
from searchops.core.streams.records import Change, StreamRecord, View

_STRICT = ("strict", "strict_allow_templates")
_WITH_NEW_IMAGE = (View.NEW_IMAGE, View.NEW_AND_OLD_IMAGES)


class WrongView(DataError):
    """The stream's records do not hold what the index needs. All of them are like that, so none is set aside as a bad one."""


class Write(NamedTuple):
    """:param position: of the record in its batch"""

    position: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class Rule:
    """How records become writes of an index.

    :param id: the attributes that ids are made of, in order. They have to be of the item's key: a delete may show no others, and an
        attribute that changes would leave a document behind
    :param left_out: attributes of items that documents do not get
    """

    scheme: Scheme
    id: tuple[str, ...]
    left_out: Collection[str] = ()

    def operation(self, record: StreamRecord) -> Operation:
        """
        :raises WrongView: the stream does not show what this index needs
        :raises Unfit: the record gives no id, no version or no document
        """
        check_view(record.view, self.scheme)
        try:
            return self._delete(record) if record.change is Change.REMOVE else self._index(record)
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise Unfit(f'expected attributes in DynamoDB JSON, such as {{"S": "a"}}: {error}') from None

    def _index(self, record: StreamRecord) -> Operation:
        image = record.new
        if image is None:
            raise Unfit(f"{record.change}: expected a NewImage, found none")
        version = None
        if self.scheme.version is VersionScheme.ATTRIBUTE:
            version = version_of(_one(image, self.scheme.attribute), self.scheme.attribute)
        document = to_plain({name: value for name, value in image.items() if name not in self.left_out})
        return index(self._id(image), document, version=version, sequence=self._sequence(record))

    def _delete(self, record: StreamRecord) -> Operation:
        if self.scheme.deletes is Deletes.NEVER:
            raise Unfit(
                "REMOVE: the index is declared to have no deletes (deletes: never); a filter of the mapping drops them unseen"
            )
        last, version = record.old, None
        if self.scheme.version is VersionScheme.ATTRIBUTE:
            if last is None:
                raise Unfit("REMOVE: expected an OldImage, which has the last version, found none")
            version = version_of_delete(_one(last, self.scheme.attribute), self.scheme.attribute)
        return delete(self._id({**(last or {}), **record.keys}), version=version, sequence=self._sequence(record))

    def _id(self, image: Mapping[str, Any]) -> str:
        return document_id(id_values(attributes(image, self.id), self.id))

    def _sequence(self, record: StreamRecord) -> str | None:
        return record.sequence if self.scheme.version is VersionScheme.SEQUENCE else None


def check_view(view: View, scheme: Scheme) -> None:
    """:raises WrongView: records of this view can not be indexed under this scheme"""
    if view not in _WITH_NEW_IMAGE:
        raise _wrong(view, "its records do not show the item as it is now")
    if needs_old_image(scheme.version, scheme.deletes) and view is not View.NEW_AND_OLD_IMAGES:
        raise _wrong(view, f"the version of a delete comes from the last {scheme.attribute}, which only the OldImage shows")


def needs_old_image(version: VersionScheme, deletes: Deletes) -> bool:
    """Whether deletes have a version, which is that of the item as it was last."""
    return version is VersionScheme.ATTRIBUTE and deletes is not Deletes.NEVER


def takes(mapping: Mapping[str, Any], attribute: str) -> bool:
    """Whether the documents of an index may have an attribute: its mapping names it, or does not refuse what it does not name."""
    return str(mapping.get("dynamic", "true")).lower() not in _STRICT or attribute in (mapping.get("properties") or {})


def by_document(writes: Iterable[Write]) -> list[list[Write]]:
    """The writes of each document, oldest first: the last one is the one that the index has to hold.

    By version or sequence number, so that what remains does not depend on how records fell into batches; where these are equal, by
    their order in the stream.
    """
    found: dict[str, list[Write]] = {}
    for write in writes:
        found.setdefault(write.operation.id, []).append(write)
    return [sorted(those, key=_newness) for those in found.values()]


def _newness(write: Write) -> int:
    operation = write.operation
    if operation.version is not None:
        return operation.version
    return int(operation.sequence) if operation.sequence is not None else 0


def _one(image: Mapping[str, Any], attribute: str) -> Any:
    return attributes(image, (attribute,)).get(attribute)


def _wrong(view: View, why: str) -> WrongView:
    needed = View.NEW_AND_OLD_IMAGES
    return WrongView(
        f"the stream's view is {view}, expected {needed}: {why}; a view can not be changed: disable the stream of the table, enable it with "
        f"{needed}, and map the function to the new one"
    )
