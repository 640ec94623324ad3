"""Find a Java that an engine can run on. Standard library only: the set-up asks before anything is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

JVM_FOLDERS = ("/usr/lib/jvm/*", "/usr/java/*", "/opt/java/*", "/opt/homebrew/opt/openjdk*", "/usr/local/opt/openjdk*")
MACOS_JVM_FOLDERS = ("/Library/Java/JavaVirtualMachines/*/Contents/Home",)


@dataclass(frozen=True, slots=True)
class Jdk:
    """A Java installation: its folder (what JAVA_HOME would be) and its major version."""

    home: Path
    version: int


class JdkNotFound(RuntimeError):
    """No Java of the wanted versions; the message says what was found and what to do."""


def find_jdk(minimum: int, maximum: int | None, variable: str, environ: Mapping[str, str] = os.environ) -> Jdk:
    """Return the first fitting Java: the named variable, JAVA_HOME, `java` on PATH, then the usual folders, oldest version first.

    A Java in `variable` is the user's explicit wish: when it does not fit, that is an error and no other one is tried.
    """
    if home := environ.get(variable):
        return _explicit(Path(home), minimum, maximum, variable)
    found = [jdk for home in _homes(environ) if (jdk := read_jdk(home))]
    for jdk in found:
        if _fits(jdk, minimum, maximum):
            return jdk
    seen = ", ".join(sorted({f"{jdk.version} ({jdk.home})" for jdk in found})) or "none"
    raise JdkNotFound(
        f"A JDK {_wanted(minimum, maximum)} is missing (found: {seen}): install one "
        f"(Debian: apt-get install openjdk-{minimum}-jdk-headless or a Temurin JDK) or set {variable} to its folder"
    )


def read_jdk(home: Path) -> Jdk | None:
    """Read the version of a Java folder from its `release` file, or by asking `java -version`; None when there is no Java."""
    if not (home / "bin" / "java").exists():
        return None
    version = _version_from_release(home / "release") or _version_from_java(home / "bin" / "java")
    return Jdk(home, version) if version else None


def parse_version(text: str) -> int | None:
    """Return the major version of `JAVA_VERSION="17.0.15"`, `openjdk version "21.0.2"` or the old `java version "1.8.0_392"`."""
    match = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


def _explicit(home: Path, minimum: int, maximum: int | None, variable: str) -> Jdk:
    jdk = read_jdk(home)
    if jdk is None:
        raise JdkNotFound(
            f"{variable}={home} holds no bin/java: set it to the folder of a JDK {_wanted(minimum, maximum)}, or unset it"
        )
    if not _fits(jdk, minimum, maximum):
        raise JdkNotFound(f"{variable}={home} is Java {jdk.version}: a JDK {_wanted(minimum, maximum)} is needed")
    return jdk


def _homes(environ: Mapping[str, str]) -> Iterator[Path]:
    if home := environ.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java", path=environ.get("PATH")):
        yield Path(java).resolve().parent.parent
    installed = [home for pattern in JVM_FOLDERS + MACOS_JVM_FOLDERS for home in Path("/").glob(pattern.lstrip("/"))]
    yield from sorted({home.resolve() for home in installed}, key=_age)


def _age(home: Path) -> tuple[int, str]:
    jdk = read_jdk(home)
    return (jdk.version if jdk else 0, str(home))


def _fits(jdk: Jdk, minimum: int, maximum: int | None) -> bool:
    return minimum <= jdk.version and (maximum is None or jdk.version <= maximum)


def _wanted(minimum: int, maximum: int | None) -> str:
    return f">= {minimum}" if maximum is None else f"{minimum} to {maximum}"


def _version_from_release(release: Path) -> int | None:
    return parse_version(release.read_text(encoding="utf-8", errors="replace")) if release.is_file() else None


def _version_from_java(java: Path) -> int | None:
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stderr + answer.stdout)
