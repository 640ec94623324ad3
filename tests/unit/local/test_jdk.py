from __future__ import annotations

from pathlib import Path

import pytest

from local import jdk
from local.jdk import Jdk, JdkNotFound, find_jdk, parse_version, read_jdk


@pytest.fixture(autouse=True)
def no_installed_jdks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jdk, "JVM_FOLDERS", ())
    monkeypatch.setattr(jdk, "MACOS_JVM_FOLDERS", ())


def make_jdk(home: Path, version: str, *, release: bool = True) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="Somebody"\nJAVA_VERSION="{version}"\nOS_ARCH="x86_64"\n', encoding="utf-8")
    return home


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('JAVA_VERSION="17.0.15"', 17),
        ('JAVA_RUNTIME_VERSION="25+9"\nJAVA_VERSION="25"', 25),
        ('openjdk version "21.0.2" 2024-01-16', 21),
        ('openjdk version "24-ea" 2025-03-18', 24),
        ('java version "1.8.0_392"', 8),
        ("no version here", None),
    ],
)
def test_the_major_version_is_read_from_every_way_java_writes_it(text: str, version: int | None) -> None:
    assert parse_version(text) == version


def test_a_java_without_a_release_file_is_asked_for_its_version(tmp_path: Path) -> None:
    home = make_jdk(tmp_path / "jdk", "21.0.2", release=False)

    assert read_jdk(home) == Jdk(home, 21)


def test_a_folder_without_java_is_no_jdk(tmp_path: Path) -> None:
    assert read_jdk(tmp_path) is None


def test_the_engines_own_variable_goes_before_java_home(tmp_path: Path) -> None:
    chosen = make_jdk(tmp_path / "chosen", "21.0.2")
    other = make_jdk(tmp_path / "other", "25")

    found = find_jdk(21, None, "ENGINE_JAVA_HOME", {"ENGINE_JAVA_HOME": str(chosen), "JAVA_HOME": str(other)})

    assert found == Jdk(chosen, 21)


def test_a_java_home_that_is_too_old_is_passed_over_for_the_java_on_the_path(tmp_path: Path) -> None:
    old = make_jdk(tmp_path / "old", "17.0.15")
    new = make_jdk(tmp_path / "new", "25")

    found = find_jdk(21, None, "ENGINE_JAVA_HOME", {"JAVA_HOME": str(old), "PATH": str(new / "bin")})

    assert found == Jdk(new, 25)


def test_the_oldest_fitting_jdk_of_the_usual_folders_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("17.0.15", "25", "21.0.2", "23"):
        make_jdk(tmp_path / f"jdk-{version}", version)
    monkeypatch.setattr(jdk, "JVM_FOLDERS", (f"{tmp_path}/*",))

    assert find_jdk(21, None, "ENGINE_JAVA_HOME", {"PATH": ""}).version == 21
    assert find_jdk(11, 17, "ENGINE_JAVA_HOME", {"PATH": ""}).version == 17


def test_the_error_names_what_was_found_and_what_is_wanted(tmp_path: Path) -> None:
    old = make_jdk(tmp_path / "old", "17.0.15")

    with pytest.raises(JdkNotFound, match=r"JDK >= 21 is missing.*17 \(.*old\).*apt-get install.*ENGINE_JAVA_HOME"):
        find_jdk(21, None, "ENGINE_JAVA_HOME", {"JAVA_HOME": str(old), "PATH": ""})


@pytest.mark.parametrize(
    ("version", "message"), [("17.0.15", "is Java 17: a JDK 21 to 23 is needed"), (None, "holds no bin/java")]
)
def test_a_jdk_that_the_user_chose_is_not_replaced_by_another(tmp_path: Path, version: str | None, message: str) -> None:
    chosen = make_jdk(tmp_path / "chosen", version) if version else tmp_path
    fitting = make_jdk(tmp_path / "fitting", "21.0.2")

    with pytest.raises(JdkNotFound, match=message):
        find_jdk(21, 23, "ENGINE_JAVA_HOME", {"ENGINE_JAVA_HOME": str(chosen), "JAVA_HOME": str(fitting)})
