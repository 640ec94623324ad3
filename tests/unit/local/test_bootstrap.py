"""What a machine is told that lacks something, before anything is downloaded."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.cloud import ROOT
from local.engines import DYNAMODB_VERSION, OPENSEARCH_VERSION, missing_prerequisites

BOOTSTRAP = ROOT / "local" / "bootstrap.py"
AS_ANOTHER_VERSION = """
import runpy, sys
sys.version_info, sys.version = {version}, ".".join(map(str, {version}))
runpy.run_path({path!r}, run_name="__main__")
"""


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 7, 16), (3, 10, 13), (3, 14, 0)])
def test_another_python_is_told_in_one_line_which_one_is_needed(version: tuple[int, ...]) -> None:
    program = AS_ANOTHER_VERSION.format(version=version, path=str(BOOTSTRAP))

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
    assert answer.stderr.startswith(
        f"error: Python 3.11, 3.12 or 3.13 is needed, {sys.executable} is {'.'.join(map(str, version))}:"
    )


def test_a_python_of_any_age_can_read_the_file_that_tells_so() -> None:
    newer = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.arg, ast.AsyncFunctionDef, ast.Match)
    text = BOOTSTRAP.read_bytes()

    assert text.isascii()
    assert [node for node in ast.walk(ast.parse(text)) if isinstance(node, newer)] == []
    assert b"__future__" not in text


@pytest.mark.parametrize("target", ["setup", "environment"])
def test_a_machine_without_python_is_told_in_one_line_what_to_install(target: str, tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}

    answer = subprocess.run(
        [make, target], cwd=ROOT, env=environment | {"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert answer.returncode != 0
    first, make_says = answer.stderr.splitlines()
    assert first == (
        "error: Python 3.11, 3.12 or 3.13 is needed, python3 does not run: "
        "install one (Debian 12: apt-get install python3.11 python3.11-venv)"
    )
    assert "Error 1" in make_says


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a fitting JDK, without Maven and with an empty cache; returns the cache."""
    java = tmp_path / "jdk" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch()
    java.with_name("javac").touch()
    (tmp_path / "jdk" / "release").write_text('JAVA_VERSION="21.0.2"\n')
    monkeypatch.setenv("OPENSEARCH_JAVA_HOME", str(tmp_path / "jdk"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SEARCHOPS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_maven_is_asked_for_only_while_an_engine_is_to_be_fetched(bare: Path) -> None:
    (missing,) = missing_prerequisites()
    assert missing.startswith("Maven is missing: install it")

    (bare / f"opensearch-{OPENSEARCH_VERSION}").mkdir(parents=True)
    assert len(missing_prerequisites()) == 1, "DynamoDB Local is still to be fetched"
    (bare / f"dynamodb-local-{DYNAMODB_VERSION}").mkdir()

    assert missing_prerequisites() == []


def test_a_jdk_is_asked_for_even_when_the_engines_are_there(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in (f"opensearch-{OPENSEARCH_VERSION}", f"dynamodb-local-{DYNAMODB_VERSION}"):
        (bare / engine).mkdir(parents=True)
    monkeypatch.setenv("OPENSEARCH_JAVA_HOME", str(bare))

    (missing,) = missing_prerequisites()

    assert f"OPENSEARCH_JAVA_HOME={bare} holds no bin/java" in missing


def test_a_java_without_its_compiler_is_told_in_one_line(bare: Path) -> None:
    for engine in (f"opensearch-{OPENSEARCH_VERSION}", f"dynamodb-local-{DYNAMODB_VERSION}"):
        (bare / engine).mkdir(parents=True)
    (bare.parent / "jdk" / "bin" / "javac").unlink()

    (missing,) = missing_prerequisites()

    assert missing.startswith(f"{bare.parent / 'jdk'} is Java without its compiler (bin/javac): install the whole JDK")
