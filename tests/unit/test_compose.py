"""docker-compose.yaml, without Docker: it follows the specification, and all that it names is there."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.session import Session

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yaml"
COMPOSE: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
EXAMPLE = re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
AIRFLOW = {name for name, service in SERVICES.items() if name.startswith("airflow-")}

each_service = pytest.mark.parametrize("name", SERVICES)


def mounts(name: str) -> Iterator[tuple[str, str]]:
    for mount in SERVICES[name].get("volumes", ()):
        source, target, *_ = mount.split(":")
        yield source, target


def waited_for(condition: str) -> set[str]:
    after = (service.get("depends_on", {}) for service in SERVICES.values())
    return {name for names in after for name, how in names.items() if how["condition"] == condition}


def test_the_file_follows_the_compose_specification(tmp_path: Path) -> None:
    def check(file: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert check(FILE).returncode == 0
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text(FILE.read_text(encoding="utf-8").replace("healthcheck:", "healthchek:", 1), encoding="utf-8")
    assert "healthchek" in check(wrong).stdout


@each_service
def test_what_a_service_is_built_from_and_mounts_is_there(name: str) -> None:
    service = SERVICES[name]
    if build := service.get("build"):
        context = ROOT / build["context"]
        dockerfile = context / build.get("dockerfile", "Dockerfile")
        copied = [
            source for line in re.findall(r"^COPY (.*) \S+$", dockerfile.read_text(), re.MULTILINE) for source in line.split()
        ]
        assert [source for source in copied if not (context / source).is_file()] == []
    else:
        assert re.fullmatch(r"[a-z/-]+:[0-9][\w.-]*", service["image"]), "an image that is not built here has a version"
    for source, _ in mounts(name):
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_the_build_context_holds_what_the_images_copy() -> None:
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    dockerfiles = [
        ROOT / service["build"]["dockerfile"] for service in SERVICES.values() if "dockerfile" in service.get("build", {})
    ]
    copied = {
        source
        for file in dockerfiles
        for line in re.findall(r"^COPY (.*) \S+$", file.read_text(), re.MULTILINE)
        for source in line.split()
    }

    assert copied == kept


@each_service
def test_a_service_says_whether_it_is_well_or_is_one_that_others_see_end(name: str) -> None:
    ends = SERVICES[name].get("restart") == "no"

    assert ends == (name in waited_for("service_completed_successfully"))
    assert ends != bool(SERVICES[name].get("healthcheck", {}).get("test"))


def test_a_service_waits_only_for_services_that_there_are() -> None:
    assert waited_for("service_healthy") | waited_for("service_completed_successfully") <= SERVICES.keys()


def test_ports_are_published_on_the_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert ports
    assert [port for port in ports if not str(port).startswith("127.0.0.1:")] == []
    assert {"network_mode", "expose"} & {key for service in SERVICES.values() for key in service} == set()


def test_every_secret_comes_from_the_environment_and_has_no_default() -> None:
    text = re.sub(r"\$\$\{", "", FILE.read_text(encoding="utf-8"))
    variables = re.findall(r"\$\{(\w+)([^}]*)\}", text)

    assert {name for name, _ in variables} == {name for name, _ in EXAMPLE}
    assert {rest for _, rest in variables} == {":?see .env.example"}
    assert {value for _, value in EXAMPLE} == {""}
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    secret = re.compile(r"PASSWORD|SECRET|FERNET|REDISCLI_AUTH")
    plain = [
        (name, key, value)
        for name, service in SERVICES.items()
        for key, value in service.get("environment", {}).items()
        if secret.search(key) and not str(value).startswith("${") and (key, value) != ("AWS_SECRET_ACCESS_KEY", "testing")
    ]
    assert plain == []


def test_the_secrets_that_are_made_fit_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    from cryptography.fernet import Fernet

    script = str(ROOT / "docker" / "secrets_for_compose.py")
    texts = []
    for _ in range(2):
        runpy.run_path(script, run_name="__main__")
        texts.append(capsys.readouterr().out)
    first, second = (dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)) for text in texts)

    assert first.keys() == dict(EXAMPLE).keys()
    assert [name for name in first if first[name] == second[name]] == []
    Fernet(first["AIRFLOW_FERNET_KEY"])
    assert len(first["AIRFLOW_JWT_SECRET"]) >= 64
    assert all(re.fullmatch(r"[\w-]{20,}", value) for name, value in first.items() if name.endswith("PASSWORD"))


def test_airflow_has_the_projects_folders_and_one_configuration() -> None:
    assert {"api-server", "scheduler", "dag-processor", "triggerer", "worker", "init"} == {
        name.removeprefix("airflow-") for name in AIRFLOW
    }
    for name in AIRFLOW:
        assert {
            ("./dags", "/opt/airflow/dags"),
            ("./plugins", "/opt/airflow/plugins"),
            ("./include", "/opt/airflow/include"),
        } <= set(mounts(name))
        assert SERVICES["airflow-worker"]["environment"].items() - SERVICES[name]["environment"].items() <= {
            ("DUMB_INIT_SETSID", "0")
        }


def test_airflow_is_of_the_tested_version_with_a_celery_that_its_provider_can_use() -> None:
    dockerfile = (ROOT / "docker" / "airflow" / "Dockerfile").read_text()
    (version,) = re.findall(r"^apache-airflow==(.*)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)

    assert f"FROM apache/airflow:{version}-" in dockerfile
    assert '"celery[redis]<5.7"' in dockerfile
    assert "-c /constraints.txt" in dockerfile


def test_the_node_is_the_tested_one_and_shares_its_analyzers_with_the_package_simulator() -> None:
    from local.engines import DYNAMODB_VERSION, OPENSEARCH_VERSION

    dockerfile = (ROOT / "docker" / "opensearch" / "Dockerfile").read_text()
    assert f"FROM opensearchproject/opensearch:{OPENSEARCH_VERSION}\n" in dockerfile
    assert "analysis-kuromoji" in dockerfile
    assert SERVICES["dynamodb"]["image"] == f"amazon/dynamodb-local:{DYNAMODB_VERSION}"
    assert ("analyzers", "/usr/share/opensearch/config/analyzers") in mounts("opensearch")
    assert ("analyzers", "/analyzers") in mounts("packages")
    assert "--analyzers-dir=/analyzers" in SERVICES["packages"]["command"]


@each_service
def test_a_service_speaks_only_to_services_that_there_are(name: str) -> None:
    text = yaml.safe_dump(SERVICES[name])
    hosts = set(re.findall(r"(?:https?://|@)([a-z][a-z0-9-]*)(?=[:/])", text)) | set(re.findall(r'"host": "([a-z-]+)', text))

    assert hosts <= SERVICES.keys()


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "local." in " ".join(service.get("command", ()))])
def test_a_stand_in_is_a_module_that_takes_its_arguments(name: str) -> None:
    python, _, module, *arguments = SERVICES[name]["command"]

    told = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert python == "python"
    assert [option for option in arguments if option.partition("=")[0] not in told] == []


def test_a_bucket_is_no_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in COMPOSE["x-aws"].items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(ROOT / "docker" / "aws.config"))

    url = Session().create_client("s3").generate_presigned_url("get_object", {"Bucket": "example-searchops", "Key": "a"})

    assert url.startswith("http://aws:5000/example-searchops/a?")
    assert all(("./docker/aws.config", "/searchops-aws.config") in mounts(name) for name in SERVICES if uses_aws(name))


def uses_aws(name: str) -> bool:
    return "AWS_CONFIG_FILE" in SERVICES[name].get("environment", {})
