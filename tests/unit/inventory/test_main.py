from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from searchops.inventory import load, project_root
from searchops.inventory.__main__ import main

INCLUDE = project_root() / "include"


def test_the_shipped_inventory_has_no_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", str(INCLUDE / "searchops.yaml")])

    assert (status, capsys.readouterr()) == (
        0,
        ("include/searchops.yaml: 1 domain, 2 packages, 2 indexes, 2 functions, 1 table, no mistakes\n", ""),
    )


def test_the_shipped_schema_is_in_step_and_takes_the_shipped_inventory(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schema", "--output", "-"])

    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads((INCLUDE / "searchops.schema.json").read_text()), "run: python -m searchops.inventory schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load((INCLUDE / "searchops.yaml").read_text()), schema)
    with pytest.raises(jsonschema.ValidationError, match="G12"):
        jsonschema.validate({"packages": {"synonyms": {"package_id": "G12", "kind": "synonyms", "source": "a"}}}, schema)


def test_the_shipped_pools_are_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    main(["pools", str(INCLUDE / "searchops.yaml"), "--output", "-"])

    pools = json.loads(capsys.readouterr().out)
    assert pools == json.loads((INCLUDE / "pools.json").read_text()), "run: python -m searchops.inventory pools"
    assert list(pools) == [
        "dictionary_sync_products-search",
        "package_user-dictionary",
        "package_synonyms",
        "stream_replay_products",
    ]
    assert {(pool["slots"], pool["include_deferred"]) for pool in pools.values()} == {(1, True)}
    shipped = load(INCLUDE / "searchops.yaml")
    domain, table = shipped.domains["products-search"], shipped.tables["products"]
    assert [domain.pool, *(package.pool for package in domain.packages), table.pool] == list(pools)


def test_check_fails_with_every_mistake_and_every_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "include" / "searchops.yaml"
    path.parent.mkdir()
    path.write_text("packages: {words: {kind: stopwords, source: include/words.txt}, more: {kind: stopwords}}")

    assert main(["check", str(path)]) == 1
    assert capsys.readouterr().err == (
        "include/searchops.yaml: packages.more.source: is missing (line 1)\n"
        f'include/searchops.yaml: packages.words.source: there is no file "include/words.txt" in {tmp_path}\n'
        f"(include/searchops.yaml is {path})\n"
    )
    assert main(["pools", str(path)]) == 1
    assert not (path.parent / "pools.json").exists()


def test_check_fails_on_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "searchops.yaml")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_reading_the_inventory_imports_neither_airflow_nor_a_client() -> None:
    program = (
        "import sys; from searchops.inventory import inventory; inventory().entries('domains');"
        "print([name for name in ('airflow', 'boto3', 'botocore', 'opensearchpy') if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(project_root() / "plugins"), "SEARCHOPS_INVENTORY": str(INCLUDE / "searchops.yaml")}

    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"
