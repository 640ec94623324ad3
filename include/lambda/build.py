"""`python include/lambda/build.py NAME`: make build/lambda/NAME.zip of include/lambda/NAME and what it imports of searchops.core.

The same sources give the same bytes wherever they are built (names in order, one date, no compression), so that the CodeSha256 that Lambda
shows tells which sources run. boto3 is part of Lambda's Python runtimes.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parent
ROOT = FUNCTIONS.parent.parent
PLUGINS = ROOT / "plugins"
_OWN, _DEPLOYABLE = "searchops", "searchops.core"
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
_UNIX, _READABLE_FILE = 3, 0o100644 << 16


class NotDeployable(Exception):
    """A function imports what has no place in a Lambda function."""


def build(function: Path, target: Path) -> Path:
    """Write the zip.

    :param function: folder of the function; its modules are at the top of the zip
    :raises NotDeployable: it imports a module of the project outside of searchops.core
    """
    content = content_of(function)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, source in sorted(content.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = _UNIX, _READABLE_FILE
            archive.writestr(entry, source)
    return target


def content_of(function: Path) -> Mapping[str, bytes]:
    """The files of the zip by name."""
    content = {path.name: path.read_bytes() for path in function.glob("*.py")}
    if not content:
        raise NotDeployable(f"{function}: expected Python files, found none")
    left = [text for source in content.values() for text in _imports(source)]
    while left:
        module = left.pop()
        path = _file(module)
        if path is None or (name := path.relative_to(PLUGINS).as_posix()) in content:
            continue
        if module != _OWN and not f"{module}.".startswith(f"{_DEPLOYABLE}."):
            raise NotDeployable(f"{function.name} imports {module}: expected {_DEPLOYABLE} only, the rest needs Airflow")
        content[name] = path.read_bytes()
        left += _imports(content[name])
    return content


def _imports(source: bytes) -> Iterator[str]:
    """The modules of ours that a source imports anywhere in it, with the packages above them; names of classes may be among them."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == _OWN:
                yield from (".".join(parts[: length + 1]) for length in range(len(parts)))


def _file(module: str) -> Path | None:
    """The file of a module; None for a name that is none."""
    path = PLUGINS.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python include/lambda/build.py", description="Make the zip of a Lambda function.")
    names = sorted(path.name for path in FUNCTIONS.iterdir() if (path / "handler.py").is_file())
    parser.add_argument("name", choices=names)
    name = parser.parse_args().name
    try:
        target = build(FUNCTIONS / name, ROOT / "build" / "lambda" / f"{name}.zip")
    except NotDeployable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    digest = base64.b64encode(hashlib.sha256(target.read_bytes()).digest()).decode()
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, CodeSha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
