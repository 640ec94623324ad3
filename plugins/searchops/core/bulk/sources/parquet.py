"""Rows of a Parquet file as documents, by row groups."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import orjson

from searchops.core.bulk.ids import Unfit
from searchops.core.bulk.model import Operation, Unreadable
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources.model import KEPT_BYTES, MAX_LINE_BYTES, BadInput, Input, Make, Recipe
from searchops.core.bulk.sources.objects import Bytes, Seekable
from searchops.core.errors import SearchOpsError

ROWS = 512
"""Rows that are Python objects at a time."""
_BUFFER_BYTES = 4 * 2**20
"""Read ahead in each column, so that a row group is never held whole."""


class ParquetRows:
    """A file that is open, with columns that the recipe can use.

    :raises BadInput: it is no Parquet file, or a column that ids or versions are made of is missing or of another type
    """

    def __init__(self, content: Bytes, recipe: Recipe) -> None:
        from pyarrow import ArrowException, PythonFile
        from pyarrow.parquet import ParquetFile

        self.uri = content.uri
        try:
            self._file = ParquetFile(PythonFile(Seekable(content), mode="r"), buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except SearchOpsError:
            raise
        except (ArrowException, OSError) as error:
            raise BadInput(f"{self.uri}: expected a Parquet file, found one that can not be read: {error}") from error
        self._schema = self._file.schema_arrow
        _check_columns(self.uri, self._schema, recipe)

    @property
    def group_rows(self) -> list[int]:
        """How many rows each row group has."""
        metadata = self._file.metadata
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    @property
    def group_bytes(self) -> list[int]:
        """The compressed size of each row group."""
        metadata = self._file.metadata
        return [_compressed(metadata.row_group(number)) for number in range(metadata.num_row_groups)]

    def operations(self, groups: tuple[int, int] | None, make: Make, start: int) -> Iterator[Operation | Unreadable]:
        """The rows of some row groups from a position on, which counts from the first of them. Row groups before it are not read."""
        rows = self.group_rows
        first, end = groups or (0, len(rows))
        row = sum(rows[:first])
        wanted = row + start
        for number in range(first, end):
            if row + rows[number] <= wanted:
                row += rows[number]
                continue
            for batch in self._batches(number):
                skipped = min(max(wanted - row, 0), batch.num_rows)
                row += skipped
                for values in self._objects(batch.slice(skipped)):
                    yield self._made(values, row, make)
                    row += 1

    def _batches(self, group: int) -> Iterator[Any]:
        from pyarrow import ArrowException

        try:
            yield from self._file.iter_batches(ROWS, row_groups=[group], use_threads=False)
        except SearchOpsError:
            raise
        except (ArrowException, OSError) as error:
            raise BadInput(f"{self.uri}: row group {group} can not be read: {error}") from error

    def _objects(self, batch: Any) -> list[dict[str, Any]]:
        from pyarrow import ArrowException

        try:
            return _with_texts_for_times(batch).to_pylist(maps_as_pydicts="strict")  # type: ignore[no-any-return]
        except (ArrowException, KeyError, ValueError) as error:
            # Not in Arrow's words, nor behind them in a traceback: they quote the value.
            raise BadInput(f"{self.uri}: a column has values that JSON can not hold ({type(error).__name__})") from None

    def _made(self, values: Mapping[str, Any], row: int, make: Make) -> Operation | Unreadable:
        source = b""
        try:
            _refuse_nan(values)
            source = orjson.dumps(values, default=_as_json)
            if len(source) > MAX_LINE_BYTES:
                raise Unfit(f"a row of {len(source):,} bytes as JSON, at most {MAX_LINE_BYTES:,} are taken")
            return make(values, source, row)
        except (TypeError, ValueError, Unfit) as error:
            shown = source if len(source) <= MAX_LINE_BYTES else source[:KEPT_BYTES]
            return Unreadable(
                str(error), shown or str(values)[:KEPT_BYTES].encode(errors="replace"), f"{self.uri}: row {row + 1}"
            )


def _compressed(group: Any) -> int:
    return sum(group.column(number).total_compressed_size for number in range(group.num_columns))


def _check_columns(uri: str, schema: Any, recipe: Recipe) -> None:
    names = set(schema.names)
    if missing := [name for name in recipe.needed if name not in names]:
        raise BadInput(
            f"{uri}: expected the columns {', '.join(recipe.needed)} for id and version, found no {', '.join(missing)} "
            f"(there are {', '.join(sorted(names)[:20])}): correct the file, or id and version of the index in the inventory"
        )
    for name in recipe.id.attributes:
        _check_type(uri, schema.field(name), "an id", texts=True)
    if recipe.version is VersionScheme.ATTRIBUTE:
        _check_type(uri, schema.field(recipe.attribute), "a version", texts=False)


def _check_type(uri: str, field: Any, what: str, *, texts: bool) -> None:
    from pyarrow import types

    kind = (types.is_dictionary(field.type) and field.type.value_type) or field.type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if not (types.is_integer(kind) or types.is_decimal(kind) or (texts and text)):
        wanted = "text, whole numbers or decimals" if texts else "whole numbers"
        raise BadInput(f"{uri}: column {field.name}: {what} is made of {wanted}, found {field.type}")


def _with_texts_for_times(batch: Any) -> Any:
    """Timestamps as ISO 8601 with all their digits, which Python's datetime has not."""
    from pyarrow import compute, timestamp, types

    for position, field in enumerate(batch.schema):
        if types.is_timestamp(field.type):
            column = batch.column(position).cast(timestamp(field.type.unit))  # with a zone: the same moment in UTC
            text = compute.strftime(column, format="%Y-%m-%dT%H:%M:%S" + ("Z" if field.type.tz else ""))
            batch = batch.set_column(position, field.name, text)
    return batch


def _refuse_nan(value: Any, name: str = "") -> None:
    """orjson would write null without a word."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unfit(f"column {name}: {value} is no JSON number")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_nan(inner, name or str(key))
    elif isinstance(value, list):
        for inner in value:
            _refuse_nan(inner, name)


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"a {type(value).__name__} can not be written as JSON")


def read_rows(given: Input, content: Bytes, recipe: Recipe, make: Make, start: int) -> Iterator[Operation | Unreadable]:
    yield from ParquetRows(content, recipe).operations(given.row_groups, make, start)
