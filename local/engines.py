"""Fetch the engines by their Maven coordinates and keep them unpacked in a cache outside the repository.

Standard library only: the set-up runs this before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.jdk import Jdk, find_jdk

UNPRIVILEGED_USER = "nobody"

OPENSEARCH_VERSION = "3.8.0"
OPENSEARCH_MINIMUM_JAVA = 21
OPENSEARCH_JAVA_VARIABLE = "OPENSEARCH_JAVA_HOME"
OPENSEARCH = f"org.opensearch.distribution.integ-test-zip:opensearch:{OPENSEARCH_VERSION}:zip"
KUROMOJI = f"org.opensearch.plugin:analysis-kuromoji:{OPENSEARCH_VERSION}:jar"
LUCENE_KUROMOJI = "org.apache.lucene:lucene-analysis-kuromoji:10.5.0:jar"
# The published plugin is a bare jar; the descriptor makes a plugin of it.
KUROMOJI_DESCRIPTOR = f"""\
description=Japanese (kuromoji) analysis
version={OPENSEARCH_VERSION}
name=analysis-kuromoji
classname=org.opensearch.plugin.analysis.kuromoji.AnalysisKuromojiPlugin
java.version={OPENSEARCH_MINIMUM_JAVA}
opensearch.version={OPENSEARCH_VERSION}
extended.plugins=
has.native.controller=false
"""

# Later versions name dependencies that do not resolve. Runs on Java 17 and newer.
DYNAMODB_VERSION = "3.1.0"
DYNAMODB_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>dynamodb-local</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>software.amazon.dynamodb</groupId><artifactId>DynamoDBLocal</artifactId><version>{DYNAMODB_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

MAVEN_MISSING = "Maven is missing: install it (Debian: apt-get install maven; macOS: brew install maven)"


class EngineMissing(RuntimeError):
    """An engine cannot be had; the message says what to install or to do."""


def running_as_root() -> bool:
    return os.geteuid() == 0


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the unpacked engines: SEARCHOPS_CACHE, or the user's cache folder.

    For root it is one that every user can reach, because OpenSearch refuses to run as root and then runs as another user.
    """
    if chosen := environ.get("SEARCHOPS_CACHE"):
        return Path(chosen).absolute()
    if running_as_root():
        return Path("/var/tmp/searchops")  # noqa: S108 - checked to be ours in make_cache_directory
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "searchops"


def make_cache_directory() -> Path:
    """Create the cache when it is missing.

    :raises EngineMissing: the folder belongs to somebody else, whose programs we would run
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    if cache.stat().st_uid != os.geteuid():
        raise EngineMissing(f"{cache} belongs to another user: set SEARCHOPS_CACHE to a folder of your own")
    if running_as_root():
        cache.chmod(0o755)
    return cache


def opensearch_jdk() -> Jdk:
    return find_jdk(OPENSEARCH_MINIMUM_JAVA, None, OPENSEARCH_JAVA_VARIABLE)


def dynamodb_jdk() -> Jdk:
    """Return the node's JDK, which serves DynamoDB Local too.

    :raises EngineMissing: it is a mere runtime: what starts DynamoDB Local is compiled at its start
    """
    jdk = opensearch_jdk()
    if not (jdk.home / "bin" / "javac").exists():
        raise EngineMissing(
            f"{jdk.home} is Java without its compiler (bin/javac): install the whole JDK "
            f"(Debian: apt-get install openjdk-{jdk.version}-jdk-headless) or set {OPENSEARCH_JAVA_VARIABLE} to the folder of one"
        )
    return jdk


def missing_prerequisites() -> list[str]:
    """Return one line for each thing that has to be installed before the engines can run; Maven only while one is to be fetched."""
    missing = []
    fetched = _opensearch_folder().is_dir() and _dynamodb_folder().is_dir()
    if not fetched and shutil.which("mvn") is None:
        missing.append(MAVEN_MISSING)
    try:
        dynamodb_jdk()
    except RuntimeError as error:
        missing.append(str(error))
    return missing


def opensearch_home() -> Path:
    """Return the unpacked OpenSearch with kuromoji; the first call fetches it (160 MB)."""
    return _cached(_opensearch_folder(), _unpack_opensearch)


def _opensearch_folder() -> Path:
    return cache_directory() / f"opensearch-{OPENSEARCH_VERSION}"


def _unpack_opensearch(target: Path) -> None:
    (archive,) = _maven_copy(target / "download", OPENSEARCH)
    with zipfile.ZipFile(archive) as content:
        content.extractall(target / "unpacked")
    (home,) = (target / "unpacked").iterdir()
    for script in (home / "bin").iterdir():
        script.chmod(0o755)
    plugin = home / "plugins" / "analysis-kuromoji"
    _maven_copy(plugin, KUROMOJI, LUCENE_KUROMOJI)
    (plugin / "plugin-descriptor.properties").write_text(KUROMOJI_DESCRIPTOR, encoding="utf-8")
    for part in home.iterdir():
        part.rename(target / part.name)
    shutil.rmtree(target / "download")
    shutil.rmtree(target / "unpacked")


def dynamodb_home() -> Path:
    """Return the folder with DynamoDB Local's libraries; the first call fetches them (48 MB)."""
    return _cached(_dynamodb_folder(), _fetch_dynamodb)


def _dynamodb_folder() -> Path:
    return cache_directory() / f"dynamodb-local-{DYNAMODB_VERSION}"


def _fetch_dynamodb(target: Path) -> None:
    project = target / "project"
    project.mkdir()
    (project / "pom.xml").write_text(DYNAMODB_POM, encoding="utf-8")
    arguments = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    _maven(f"DynamoDB Local {DYNAMODB_VERSION}", project, arguments)
    shutil.rmtree(project)


def fetch_all() -> None:
    """Fetch what is not there yet.

    :raises EngineMissing: Maven is missing or could not fetch it
    """
    opensearch_home()
    dynamodb_home()


def _cached(home: Path, unpack: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, filled by `unpack` under another name first: an interrupted unpack is never used."""
    if home.is_dir():
        return home
    cache = make_cache_directory()
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{home.name}-", ignore_cleanup_errors=True) as temporary:
        fresh = Path(temporary) / home.name
        fresh.mkdir()
        unpack(fresh)
        try:
            fresh.rename(home)
        except OSError:
            if not home.is_dir():  # else somebody else was faster, and theirs is as good
                raise
    return home


def _maven_copy(directory: Path, *coordinates: str) -> list[Path]:
    """Let Maven copy artifacts into a folder."""
    for coordinate in coordinates:
        # In a folder without a pom.xml, so that no project of the user takes part.
        arguments = ["dependency:copy", f"-Dartifact={coordinate}", f"-DoutputDirectory={directory}"]
        _maven(coordinate, directory.parent, arguments)
    return sorted(directory.iterdir())


def _maven(what: str, directory: Path, arguments: Sequence[str]) -> None:
    """Run Maven, which resolves artifacts through its own settings and repository."""
    if shutil.which("mvn") is None:
        raise EngineMissing(MAVEN_MISSING)
    print(f"Maven: {what}", file=sys.stderr, flush=True)
    command = ["mvn", "-q", "-B", *arguments]
    answer = subprocess.run(command, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode != 0:
        raise EngineMissing(f"Maven could not fetch {what} (`{' '.join(command)}`):\n{(answer.stdout + answer.stderr)[-2000:]}")


if __name__ == "__main__":
    fetch_all()
