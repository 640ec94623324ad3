"""``python -m searchops.inventory``: check the inventory, and write what is generated from it and from its models."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

from searchops.inventory.loading import Inventory, InventoryError, inventory_path, load, project_root
from searchops.inventory.models import File
from searchops.inventory.reference import reference


def schema() -> dict[str, Any]:
    """JSON schema of the inventory file, for editors. Rules between two fields are not in it: ``check`` knows them."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **File.model_json_schema()}


def pools(inventory: Inventory) -> dict[str, dict[str, Any]]:
    """What ``airflow pools import`` reads. One slot each, and a deferred task keeps it."""
    one_at_a_time: dict[str, Any] = {"slots": 1, "include_deferred": True}
    return {
        **{
            domain.pool: {**one_at_a_time, "description": f"One dictionary at a time on the domain {domain.domain_name}"}
            for domain in inventory.domains.values()
        },
        **{
            package.pool: {**one_at_a_time, "description": f"One publisher at a time of {package.package_id or package.name}"}
            for package in inventory.packages.values()
        },
        **{
            table.pool: {**one_at_a_time, "description": f"One replay at a time of the table {table.table}"}
            for table in inventory.tables.values()
        },
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _write(text: str, output: str) -> None:
    if output == "-":
        sys.stdout.write(text)
    else:
        Path(output).write_text(text, encoding="utf-8")


def _count(entries: Sized, one: str, several: str) -> str:
    return f"{len(entries)} {one if len(entries) == 1 else several}"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m searchops.inventory", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="validate an inventory; exit status 1 and one line a mistake when it is wrong")
    pools_ = commands.add_parser("pools", help="write the file for `airflow pools import`")
    for command in (check, pools_):
        command.add_argument("file", nargs="?", type=Path, help="default: SEARCHOPS_INVENTORY, or include/searchops.yaml")
    pools_.add_argument("--output", help="default: pools.json beside the inventory; - for standard output")
    schema_ = commands.add_parser("schema", help="write the JSON schema of the inventory")
    schema_.add_argument("--output", default=str(project_root() / "include/searchops.schema.json"), help="- for standard output")
    reference_ = commands.add_parser("reference", help="write the page that explains every field")
    reference_.add_argument("--output", default=str(project_root() / "docs/inventory.md"), help="- for standard output")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    if arguments.command in ("schema", "reference"):
        _write(_json(schema()) if arguments.command == "schema" else reference(), arguments.output)
        return 0
    path = arguments.file or inventory_path()
    try:
        inventory = load(path)
    except InventoryError as error:
        print(error, file=sys.stderr)
        return 1
    mistakes = [*inventory.errors, *(inventory.missing_files() if arguments.command == "check" else [])]
    if mistakes:
        print(*mistakes, sep="\n", file=sys.stderr)
        if path.resolve() != (project_root() / inventory.file).resolve():
            print(f"({inventory.file} is {path})", file=sys.stderr)
        return 1
    if arguments.command == "pools":
        _write(_json(pools(inventory)), arguments.output or str(path.parent / "pools.json"))
    else:
        counts = (
            _count(inventory.domains, "domain", "domains"),
            _count(inventory.packages, "package", "packages"),
            _count(inventory.indexes, "index", "indexes"),
            _count(inventory.functions, "function", "functions"),
            _count(inventory.tables, "table", "tables"),
        )
        print(f"{inventory.file}: {', '.join(counts)}, no mistakes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
