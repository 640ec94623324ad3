"""The one place where settings enter: ``include/searchops.yaml``, validated entry by entry.

Used by DAG files: imports neither Airflow nor a client of AWS or OpenSearch.
"""

from __future__ import annotations

from searchops.inventory.loading import BrokenEntry, Inventory, InventoryError, inventory, inventory_path, load, project_root
from searchops.inventory.models import (
    Consumer,
    DateIndex,
    Defaults,
    Domain,
    Function,
    HandOver,
    Home,
    Id,
    Index,
    Kind,
    Notice,
    Package,
    Preview,
    Probe,
    Replay,
    Table,
    Version,
    Waits,
    WrittenIndex,
)

__all__ = [
    "BrokenEntry",
    "Consumer",
    "DateIndex",
    "Defaults",
    "Domain",
    "Function",
    "HandOver",
    "Home",
    "Id",
    "Index",
    "Inventory",
    "InventoryError",
    "Kind",
    "Notice",
    "Package",
    "Preview",
    "Probe",
    "Replay",
    "Table",
    "Version",
    "Waits",
    "WrittenIndex",
    "inventory",
    "inventory_path",
    "load",
    "project_root",
]
