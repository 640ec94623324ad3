"""Find what a load has to read, before anything is written."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from searchops.core.bulk.model import Operation, Unreadable
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources.dynamodb import export_parser
from searchops.core.bulk.sources.lines import json_parser, read_lines
from searchops.core.bulk.sources.model import Format, Input, Recipe, Start, split_uri
from searchops.core.bulk.sources.objects import Found, find, find_below, open_bytes
from searchops.core.bulk.sources.parquet import ParquetRows, read_rows
from searchops.core.errors import DataError

MAX_INPUTS = 10_000
"""More would make the plan larger than what a task may hand to the next one (about 250 bytes each)."""
PARQUET_BYTES = 256 * 2**20
"""A Parquet file that is larger is read as several inputs of about this size, each of whole row groups."""
_MANIFEST = "manifest-files.json"
_SUMMARY = "manifest-summary.json"
_EXPORTS = "AWSDynamoDB/"
_MANIFEST_BYTES = 64 * 2**20
_NAMES = {
    Format.PARQUET: (".parquet",),
    Format.NDJSON: tuple(name + zipped for name in (".ndjson", ".jsonl", ".json") for zipped in ("", ".gz")),
}


def plan_inputs(
    s3: Any,
    uris: Sequence[str],
    recipe: Recipe,
    *,
    format: Format | None = None,
    parquet_bytes: int = PARQUET_BYTES,
    oldest: float | None = None,
) -> list[Input]:
    """The inputs of a load, in the order of the URIs and of the names below them; each file once.

    A URI is an object, a prefix that ends with ``/``, or a local file or folder. Below a prefix, names that begin with ``_`` or
    ``.`` are left out, as Spark and Athena do it. A prefix that holds the ``manifest-files.json`` of a DynamoDB export stands for the
    data files that the manifest names, wherever they are.

    :param format: of all files; without it the names tell
    :param oldest: no file may have been written before (epoch seconds): what was deleted since would come back
    :raises DataError: a file is missing, nothing is below a prefix, the format is not known or not supported, a Parquet file lacks the
        columns of id or version, or an Ingestion pipeline writes the index
    """
    if recipe.version is VersionScheme.INGESTION:
        raise DataError(
            "an index that an Ingestion pipeline writes takes no load: send old items through the pipeline (replay, export)"
        )
    if not uris:
        raise DataError("expected at least one file, found none")
    inputs: dict[str, Input] = {}
    for uri in uris:
        for found in _inputs(s3, uri, recipe, format, parquet_bytes, oldest):
            inputs.setdefault(found.name, found)
    if len(inputs) > MAX_INPUTS:
        raise DataError(f"expected at most {MAX_INPUTS:,} inputs, found {len(inputs):,}: load them in several runs")
    return list(inputs.values())


def open_input(s3: Any, given: Input, recipe: Recipe) -> Start:
    """What `BulkIndexer` reads: the operations of an input from a position on. Each call reads anew."""
    make = recipe.maker(given)

    def start(position: int) -> Iterator[Operation | Unreadable]:
        content = open_bytes(s3, given.uri, given.etag, given.bytes if given.row_groups is None else find(s3, given.uri).bytes)
        if given.format is Format.PARQUET:
            return read_rows(given, content, recipe, make, position)
        parse = export_parser(recipe, make) if given.format is Format.DYNAMODB else json_parser(make)
        return read_lines(given, content.blocks(), parse, position)

    return start


def share_out(inputs: Sequence[Input], tasks: int) -> list[list[Input]]:
    """Give the inputs to at most so many tasks, about as many bytes to each: a task costs seconds to start, a small file less.

    The same inputs give the same shares, whatever has happened in between.
    """
    shares: list[list[Input]] = [[] for _ in range(min(tasks, len(inputs)))]
    loads = [(0, number) for number in range(len(shares))]
    for given in sorted(inputs, key=lambda each: (-each.bytes, each.name)):
        size, number = heapq.heappop(loads)
        shares[number].append(given)
        heapq.heappush(loads, (size + max(1, given.bytes), number))  # an empty file costs its opening
    return shares


def _inputs(
    s3: Any, uri: str, recipe: Recipe, format: Format | None, parquet_bytes: int, oldest: float | None
) -> Iterator[Input]:
    for found, documents in _files(s3, uri):
        if oldest is not None and found.modified_at < oldest:
            raise _too_old(found, oldest)
        kind = Format.DYNAMODB if documents is not None else format or _format_of(found.uri)
        if kind is Format.PARQUET:
            yield from _row_groups(s3, found, recipe, parquet_bytes)
        else:
            yield Input(found.uri, found.etag, found.bytes, kind, documents=documents)


def _too_old(found: Found, oldest: float) -> DataError:
    written, limit = (datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") for moment in (found.modified_at, oldest))
    return DataError(
        f"{found.uri}: expected a file that is younger than the tombstones of the index ({limit}), found one of {written}: documents that "
        "were deleted since would come back; export anew, or say allow_old when nothing was deleted"
    )


def _files(s3: Any, uri: str) -> Iterator[tuple[Found, int | None]]:
    """Files, with the number of items where an export's manifest tells it."""
    name = uri.rpartition("/")[2]
    if name in (_MANIFEST, _SUMMARY):
        uri = uri.removesuffix(name)
    elif not _is_folder(uri):
        yield find(s3, uri), None
        return
    below = find_below(s3, uri)
    manifests = [found for found in below if found.uri.endswith(f"/{_MANIFEST}")]
    if len(manifests) > 1:
        listed = ", ".join(found.uri.removesuffix(_MANIFEST) for found in manifests[:10])
        raise DataError(f"{uri}: expected one DynamoDB export, found {len(manifests)}: name one of them: {listed}")
    if manifests:
        yield from _export(s3, manifests[0], {found.uri: found for found in below})
        return
    files = [found for found in below if found.uri.rpartition("/")[2][:1] not in ("_", ".")]
    if not files:
        raise DataError(f"{uri}: expected files below it, found none")
    yield from ((found, None) for found in files)


def _is_folder(uri: str) -> bool:
    from pathlib import Path

    return uri.endswith("/") or (not uri.startswith("s3://") and Path(uri).is_dir())


def _export(s3: Any, manifest: Found, below: Mapping[str, Found]) -> Iterator[tuple[Found, int | None]]:
    """The data files of an export. Those of a full one are below it; incremental ones share a folder beside them."""
    folder = manifest.uri.removesuffix(_MANIFEST)
    summary = _json_lines(s3, find(s3, folder + _SUMMARY))[0]
    if (kind := summary.get("outputFormat")) != "DYNAMODB_JSON":
        raise DataError(f"{folder}: expected an export in the format DYNAMODB_JSON, found {kind}: export the table again in it")
    for entry in _json_lines(s3, manifest):
        try:
            key, items = str(entry["dataFileS3Key"]), int(entry["itemCount"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{manifest.uri}: expected lines with dataFileS3Key and itemCount, found {entry}") from error
        uri = _beside(manifest.uri, key)
        yield below.get(uri) or find(s3, uri), items


def _beside(manifest: str, key: str) -> str:
    """The file of a key, also where the export was copied to another bucket, prefix or folder."""
    above, mark, _ = manifest.rpartition(_EXPORTS)
    _, marked, below = key.rpartition(_EXPORTS)
    return above + mark + below if mark and marked else f"s3://{split_uri(manifest)[0]}/{key}"


def _json_lines(s3: Any, found: Found) -> list[dict[str, Any]]:
    if found.bytes > _MANIFEST_BYTES:
        raise DataError(f"{found.uri}: {found.bytes:,} bytes, expected a manifest of at most {_MANIFEST_BYTES:,}")
    content = open_bytes(s3, found.uri, found.etag, found.bytes)
    data = content.read(0, found.bytes)
    try:
        # The summary is one object, which may be laid out over several lines.
        values = (
            [orjson.loads(data)] if found.uri.endswith(_SUMMARY) else [orjson.loads(line) for line in data.splitlines() if line]
        )
    except ValueError as error:
        raise DataError(f"{found.uri}: expected the manifest of a DynamoDB export, found no JSON ({error})") from None
    if not all(isinstance(value, dict) for value in values):
        raise DataError(f"{found.uri}: expected the manifest of a DynamoDB export, found JSON that is none")
    return values


def _format_of(uri: str) -> Format:
    name = uri.lower()
    if name.endswith((".ion", ".ion.gz")):
        raise DataError(f"{uri}: Ion is not read: export the table in the format DYNAMODB_JSON")
    if "/AWSDynamoDB/" in uri and "/data/" in uri and name.endswith((".json.gz", ".json")):
        return Format.DYNAMODB
    for format, ends in _NAMES.items():
        if name.endswith(ends):
            return format
    endings = ", ".join(end for ends in _NAMES.values() for end in ends)
    raise DataError(f"{uri}: expected a name that ends with one of {endings}; name the format where it does not")


def _row_groups(s3: Any, found: Found, recipe: Recipe, parquet_bytes: int) -> Iterator[Input]:
    rows = ParquetRows(open_bytes(s3, found.uri, found.etag, found.bytes), recipe)
    counts, sizes = rows.group_rows, rows.group_bytes
    if found.bytes <= parquet_bytes or len(counts) < 2:
        yield Input(found.uri, found.etag, found.bytes, Format.PARQUET, documents=sum(counts))
        return
    for first, end in _ranges(sizes, parquet_bytes):
        yield Input(found.uri, found.etag, sum(sizes[first:end]), Format.PARQUET, (first, end), sum(counts[first:end]))


def _ranges(sizes: Sequence[int], wanted: int) -> Iterator[tuple[int, int]]:
    first = held = 0
    for number, size in enumerate(sizes):
        if held and held + size > wanted:
            yield first, number
            first, held = number, 0
        held += size
    yield first, len(sizes)
