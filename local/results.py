"""Write what a demo or a benchmark measured, in the one format of each."""

from __future__ import annotations

import importlib.metadata
import json
import operator
import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}
_GOAL = re.compile(rf"(?P<sign>{'|'.join(_COMPARISONS)}) (?P<limit>-?\d+(\.\d+)?(e[+-]?\d+)?)", re.ASCII)
_VERSIONS = (
    "apache-airflow",
    "apache-airflow-providers-amazon",
    "boto3",
    "aiobotocore",
    "opensearch-py",
    "moto",
    "aws-lambda-powertools",
)


@dataclass(frozen=True, slots=True)
class Act:
    """One act of the demo; ``facts`` are what was measured in it."""

    name: str
    passed: bool
    seconds: float
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a benchmark. ``goal`` is a comparison such as ``"<= 0.33"``, or None for what is only reported."""

    name: str
    unit: str
    samples: Sequence[float]
    goal: str | None = None
    median: float = field(init=False)
    holds: bool | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "median", statistics.median(self.samples))
        object.__setattr__(self, "holds", None if self.goal is None else meets(self.median, self.goal))


def meets(value: float, goal: str) -> bool:
    """Whether a value meets a goal such as ``"<= 0.33"``.

    :raises ValueError: the goal is no comparison with a number
    """
    found = _GOAL.fullmatch(goal)
    if found is None:
        raise ValueError(f"goal {goal!r}: expected one of {', '.join(_COMPARISONS)}, a space and a number")
    return bool(_COMPARISONS[found["sign"]](value, float(found["limit"])))


def write_demo(path: Path, name: str, acts: Sequence[Act]) -> None:
    _write(path, {"name": name, "acts": [asdict(act) for act in acts]})


def write_benchmark(path: Path, name: str, measures: Sequence[Measure]) -> None:
    """Replace the file in one step.

    :raises ValueError: a sample is no finite number, which JSON can not hold
    """
    versions = {package: importlib.metadata.version(package) for package in _VERSIONS} | {"python": platform.python_version()}
    machine = {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }
    _write(path, {"name": name, "machine": machine, "versions": versions, "measures": [asdict(measure) for measure in measures]})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(path)
