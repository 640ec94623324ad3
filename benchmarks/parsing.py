"""How long the DAG file takes to parse, beside the import that no DAG file can do without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from local.aws import without_inherited_settings
from local.cloud import ROOT
from local.results import Measure

PAIRS = 9
FILE = ROOT / "dags" / "dictionary_sync.py"

IMPORT = "import airflow.sdk"
# As the DAG processor loads a file; a file that gave no DAG would be quick for the wrong reason.
PARSE = """
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("parsed", sys.argv[1])
module = module_from_spec(spec)
spec.loader.exec_module(module)
"""
CHECK = """
from airflow.sdk import DAG
assert any(isinstance(value, DAG) for value in vars(module).values()), "the file gave no DAG"
"""
TIMED = "import sys, time\nbegan = time.perf_counter()\n{}\nseconds = time.perf_counter() - began\n{}\nprint(seconds)"


def measure(directory: Path) -> list[Measure]:
    """Each sample in a fresh interpreter, in turns, after one of each that fills the caches."""
    environment = _environment(directory)
    commands = {"parse": TIMED.format(PARSE, CHECK), "import": TIMED.format(IMPORT, "")}
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(1 + PAIRS):
        for name, command in commands.items():
            samples[name].append(_seconds(command, environment))
    parse, sdk = samples["parse"][1:], samples["import"][1:]
    return [
        Measure(
            f"parse of {FILE.name}, to import airflow.sdk", "ratio", [a / b for a, b in zip(parse, sdk, strict=True)], "<= 1.6"
        ),
        Measure(f"parse of {FILE.name}", "s", parse),
        Measure("import airflow.sdk", "s", sdk),
    ]


def _environment(directory: Path) -> dict[str, str]:
    plugins = str(ROOT / "plugins")
    return without_inherited_settings(os.environ) | {
        "AIRFLOW_HOME": str(directory / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(FILE.parent),
        "AIRFLOW__CORE__PLUGINS_FOLDER": plugins,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": plugins,
    }


def _seconds(command: str, environment: dict[str, str]) -> float:
    found = subprocess.run(
        [sys.executable, "-c", command, str(FILE)], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    )
    return float(found.stdout.splitlines()[-1])
