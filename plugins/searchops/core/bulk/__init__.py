"""Index in bulk so that every document has exactly one known end: indexed, superseded, rejected or handed over."""

from searchops.core.bulk.delivery import Blocked, IndexClosed, NotDone
from searchops.core.bulk.indexer import BulkIndexer
from searchops.core.bulk.model import BatchResult, Counts, End, Operation, Unreadable, create, delete, index, update
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme

__all__ = [
    "BatchResult",
    "Blocked",
    "BulkIndexer",
    "Counts",
    "Deletes",
    "End",
    "IndexClosed",
    "NotDone",
    "Operation",
    "Scheme",
    "Unreadable",
    "VersionScheme",
    "create",
    "delete",
    "index",
    "update",
]
