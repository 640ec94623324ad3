"""`python include/lambda/build.py NAME`: make build/lambda/NAME.zip of include/lambda/NAME and what it imports of searchops.core.

The same sources give the same bytes wherever they are built (names in order, one date, no compression), so that the CodeSha256 that Lambda
shows tells which sources run. boto3 is part of Lambda's Python runtimes; what a function needs besides is in its requirements.txt, one name
a line, with all that these need, and comes as wheels at the versions of constraints.txt.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parent
ROOT = FUNCTIONS.parent.parent
PLUGINS = ROOT / "plugins"
_OWN, _DEPLOYABLE = "searchops", "searchops.core"
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
_UNIX, _READABLE_FILE = 3, 0o100644 << 16
HERE = "here"
PLATFORMS = {"x86_64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
"""Lambda's names for its architectures; the runtimes from Python 3.12 on are Amazon Linux 2023, whose glibc is 2.34."""
PYTHON = "3.13"
# What an installer leaves, with times and paths of the machine.
_OF_THE_INSTALLER = re.compile(
    r"\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_[a-z_.]+)$|\.pyc$|^\.\./|^bin/|^\.lock$"
)


class NotDeployable(Exception):
    """A function imports what has no place in a Lambda function."""


def build(function: Path, target: Path, platform: str = HERE, python: str = PYTHON) -> Path:
    """Write the zip.

    :param function: folder of the function; its modules are at the top of the zip
    :param platform: one of `PLATFORMS`; `HERE` takes what this Python has installed, for functions that run on this machine
    :param python: version of the runtime, e.g. ``3.13``; without a meaning for `HERE`
    :raises NotDeployable: it imports a module of the project outside of searchops.core, or there are no wheels for it
    """
    content = {**requirements_of(function, platform, python), **content_of(function)}
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


def requirements_of(function: Path, platform: str, python: str) -> Mapping[str, bytes]:
    """The files of what its requirements.txt names, by name."""
    listed = function / "requirements.txt"
    if not listed.is_file():
        return {}
    names = [
        line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip() and not line.startswith("#")
    ]
    found = _installed(names) if platform == HERE else _downloaded(names, PLATFORMS[platform], python)
    return {name: content for name, content in found.items() if not _OF_THE_INSTALLER.search(name)}


def _installed(names: Sequence[str]) -> dict[str, bytes]:
    files = [file for name in names for file in distribution(name).files or []]
    return {file.as_posix(): file.read_binary() for file in files if not _OF_THE_INSTALLER.search(file.as_posix())}


def _downloaded(names: Sequence[str], platform: str, python: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        place = ["--target", folder, "--python-platform", platform, "--python-version", python]
        pinned = [*names, "--constraints", str(ROOT / "constraints.txt"), "--no-deps", "--only-binary", ":all:"]
        uv = Path(sys.executable).with_name("uv")
        done = subprocess.run([uv, "pip", "install", "--quiet", *place, *pinned], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotDeployable(f"expected wheels for Python {python} on {platform}, found none of some: {done.stderr.strip()}")
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


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
    parser = argparse.ArgumentParser(prog="python include/lambda/build.py", description="Make the zips of Lambda functions.")
    names = sorted(path.name for path in FUNCTIONS.iterdir() if (path / "handler.py").is_file())
    parser.add_argument("names", nargs="+", choices=names, metavar="name", help=", ".join(names))
    parser.add_argument("--platform", choices=[*PLATFORMS, HERE], default="x86_64", help="the function's architecture")
    parser.add_argument("--python", default=PYTHON, help=f"version of the function's runtime (default {PYTHON})")
    options = parser.parse_args()
    for name in options.names:
        try:
            target = build(FUNCTIONS / name, ROOT / "build" / "lambda" / f"{name}.zip", options.platform, options.python)
        except NotDeployable as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            return 1
        digest = base64.b64encode(hashlib.sha256(target.read_bytes()).digest()).decode()
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, CodeSha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
