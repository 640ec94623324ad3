"""Make `.venv` from the lock and fetch the engines. Standard library only: nothing is installed yet.

Everything that could be missing is looked for before anything is downloaded. A stamp makes the second run quick.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from local import engines
from local.bootstrap import NEWEST_PYTHON, OLDEST_PYTHON

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "searchops-setup"
LOCK = ROOT / "constraints.txt"
INPUTS = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt", LOCK, ROOT / "pyproject.toml", Path(__file__))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python local/bootstrap.py", description=__doc__)
    parser.add_argument("--without-engines", action="store_true", help="only .venv")
    with_engines = not parser.parse_args().without_engines
    missing = _missing_for_the_environment() + (engines.missing_prerequisites() if with_engines else [])
    if missing:
        return _fail(*missing)
    try:
        _make_environment()
        if with_engines:
            engines.fetch_all()
    except engines.EngineMissing as error:
        return _fail(str(error))
    except subprocess.CalledProcessError as error:
        return _fail(f"`{' '.join(map(str, error.cmd))}` ended with exit code {error.returncode}: see above")
    except KeyboardInterrupt:
        return 130
    return 0


def _missing_for_the_environment() -> list[str]:
    if _is_up_to_date() or (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        return []
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [f"Python's module venv is missing: install it (Debian: apt-get install python{version}-venv)"]


def _make_environment() -> None:
    """Create or bring up to date `.venv`: exactly the versions of the lock, and `searchops` importable from plugins/."""
    if _is_up_to_date():
        return
    python = VENV / "bin" / "python"
    if not _is_usable(python):
        shutil.rmtree(VENV, ignore_errors=True)
        _run(sys.executable, "-m", "venv", VENV)
    STAMP.unlink(missing_ok=True)
    _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", LOCK, "uv")
    uv = (python, "-m", "uv", "pip", "install", "-q", "--python", python)  # named, or uv would change an active environment
    _run(*uv, "-r", ROOT / "requirements-dev.txt", "-c", LOCK)
    _run(*uv, "--no-deps", "-e", ROOT)
    _run(python, "-m", "pip", "check", "--disable-pip-version-check")
    STAMP.write_text(_fingerprint(), encoding="utf-8")


def _is_up_to_date() -> bool:
    return STAMP.is_file() and STAMP.read_text(encoding="utf-8") == _fingerprint()


def _fingerprint() -> str:
    content = b"".join(path.read_bytes() for path in INPUTS)
    return hashlib.sha256(content + str(VENV).encode()).hexdigest()


def _is_usable(python: Path) -> bool:
    """Tell whether the environment works, is of a fitting version and was made where it is: scripts of a moved one point elsewhere."""
    question = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        version = tuple(
            map(int, subprocess.run([python, "-c", question], capture_output=True, text=True, check=True).stdout.split())
        )
        return OLDEST_PYTHON <= version <= NEWEST_PYTHON and str(VENV) in (VENV / "bin" / "pip").read_text(encoding="utf-8")
    except (OSError, subprocess.CalledProcessError):
        return False


def _run(*command: str | Path) -> None:
    print("$", " ".join(map(str, command)), file=sys.stderr, flush=True)
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


def _fail(*messages: str) -> int:
    for message in messages:
        print(f"error: {message}", file=sys.stderr)
    return 1
