"""Set up `.venv` and the engines: run by `make setup` with the system's Python, standard library only.

Everything that could be missing is looked for before anything is downloaded. A stamp makes the second run quick.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

# Older ones cannot read the modules below; the Makefile looks for a fitting Python first.
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "constraints.txt"
INPUTS = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt", LOCK, ROOT / "pyproject.toml", Path(__file__))


def main() -> int:
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return _fail(
            f"Python 3.11, 3.12 or 3.13 is needed, {sys.executable} is {sys.version.split()[0]}: "
            "install one (Debian 12: apt-get install python3.11 python3.11-venv) and run `make setup PYTHON=python3.11`"
        )
    sys.path.insert(0, str(ROOT))
    from local import engines  # only now: an older Python could not read it

    if missing := _missing_for_the_environment() + engines.missing_prerequisites():
        return _fail(*missing)
    try:
        _make_environment()
        engines.opensearch_home()
    except engines.EngineMissing as error:
        return _fail(str(error))
    except subprocess.CalledProcessError as error:
        return _fail(f"`{' '.join(map(str, error.cmd))}` ended with exit code {error.returncode}: see above")
    return 0


def _missing_for_the_environment() -> list[str]:
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return []
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [f"Python's module venv is missing: install it (Debian: apt-get install python{version}-venv)"]


def _make_environment() -> None:
    """Create or bring up to date `.venv`: exactly the versions of the lock, and `searchops` importable from plugins/."""
    stamp = VENV / "searchops-setup"
    fingerprint = _fingerprint()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint:
        return
    python = VENV / "bin" / "python"
    if not _is_usable(python):
        shutil.rmtree(VENV, ignore_errors=True)
        _run(sys.executable, "-m", "venv", VENV)
    stamp.unlink(missing_ok=True)
    _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", LOCK, "uv")
    uv = (python, "-m", "uv", "pip", "install", "-q", "--python", python)  # named, or uv would change an active environment
    _run(*uv, "-r", ROOT / "requirements-dev.txt", "-c", LOCK)
    _run(*uv, "--no-deps", "-e", ROOT)
    _run(python, "-m", "pip", "check", "--disable-pip-version-check")
    stamp.write_text(fingerprint, encoding="utf-8")


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


if __name__ == "__main__":
    sys.exit(main())
