"""Hundreds of waits in one triggerer: whether all are on time, and what they take of the processor, the memory and AWS's quota of calls.

Airflow's own trigger runner (``benchmarks.triggerer``) waits for the associations of 200 packages; all waits begin at the same moment, as by
schedules of the same hour.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import client_of
from benchmarks.waiting import CONNECTION
from local.cloud import ROOT, Cloud
from local.results import Measure
from local.simulators.packages.control import PackagesControl
from searchops.core.dictionary.model import commit_message, sha256
from searchops.core.waiting import Cadence

WAITS = 200
AT_CAP_SECONDS = 600.0
"""Age at which a wait has long looked as rarely as it ever does."""
LEAST_SECONDS, MOST_SECONDS = 45.0, 75.0
WARM_SECONDS = 8.0
"""How long the first wait goes on alone, so that what the process needs for any wait is not counted as a wait's."""
COUNT_AFTER_SECONDS = 15.0
SHARED, OWN = "searchops.triggers.dictionary.PackageAssociatedTrigger", "benchmarks.triggerer.OwnClient"


@dataclass(frozen=True, slots=True)
class Sample:
    """The process in which the waits run, at a moment (epoch seconds)."""

    time: float
    rss_bytes: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """What a trigger runner made of its waits. ``events`` has the payload by the position of the wait.

    :param warm: before the first wait was joined by the others
    :param began: when the runner had all of them (epoch seconds)
    :param clients: aiobotocore's in that process, while the waits went on
    """

    events: Mapping[int, Mapping[str, Any]]
    warm: Sample
    began: float
    samples: Sequence[Sample]
    clients: int

    @classmethod
    def read(cls, text: str) -> Run:
        found = json.loads(text)
        events = {int(position): payload for position, payload in found["events"].items()}
        samples = [Sample(**sample) for sample in found["samples"]]
        return cls(events, Sample(**found["warm"]), found["began"], samples, found["clients"])

    def bytes_per_wait(self) -> float:
        return (max(sample.rss_bytes for sample in self.samples) - self.warm.rss_bytes) / (len(self.events) - 1)

    def core_share(self, until: float) -> float:
        """Percent of a core that the process took from the begin of the waits to a moment."""
        span = [sample for sample in self.samples if self.began <= sample.time <= until]
        return 100 * (span[-1].cpu_seconds - span[0].cpu_seconds) / (span[-1].time - span[0].time)


@dataclass(frozen=True, slots=True)
class Waits:
    """A run of waits for associations, with what the simulator saw of it: when each came true, and all calls."""

    run: Run
    changed_at: Sequence[float]
    calls: int

    def late(self) -> list[float]:
        """Seconds from each change of state to its notice, or from the begin of the waits where they came after it.

        :raises RuntimeError: a wait that did not come true
        """
        if missing := set(range(len(self.changed_at))) - self.run.events.keys():
            raise RuntimeError(f"{len(missing)} of {len(self.changed_at)} waits never knew")
        if wrong := [event for event in self.run.events.values() if event["status"] != "success"]:
            raise RuntimeError(f"{len(wrong)} of {len(self.changed_at)} waits went wrong, such as {wrong[0]}")
        return [self.run.events[place]["seen_at"] - max(changed, self.run.began) for place, changed in enumerate(self.changed_at)]

    def calls_per_minute(self) -> float:
        """Of one wait."""
        waited: float = sum(event["seen_at"] - self.run.began for event in self.run.events.values())
        return 60 * self.calls / waited


def measure(directory: Path) -> list[Measure]:
    """Each kind of wait after the other, as they need the processor."""
    level = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"}  # every look is a line, as it is in a triggerer
    with Cloud(directory, services=("opensearch", "aws", "packages"), speed=1) as cloud, client_of(cloud, **level):
        domains = Domains(PackagesControl(cloud.endpoints["packages"]))
        fresh = domains.associate(LEAST_SECONDS, MOST_SECONDS)
        capped = domains.associate(LEAST_SECONDS, MOST_SECONDS, age_seconds=AT_CAP_SECONDS)
        own = domains.associate(LEAST_SECONDS, MOST_SECONDS, classpath=OWN)
    cap = Cadence().cap_seconds
    at_cap = f"{WAITS} waits at the cap of {cap:.0f} s"
    return [
        Measure(f"{at_cap}: the latest notice of all", "s", [max(capped.late())], f"<= {cap + 2:.0f}"),
        Measure(f"{at_cap}: from the change of state to its notice", "s", capped.late()),
        Measure(f"{at_cap}: of a core", "%", [capped.run.core_share(min(capped.changed_at))]),
        Measure(f"{at_cap}: calls a wait and minute", "calls", [capped.calls_per_minute()]),
        *costs("one client for all", fresh),
        *costs("a client for each", own),
    ]


def costs(name: str, waits: Waits) -> list[Measure]:
    what = f"{WAITS} waits of {LEAST_SECONDS:.0f} to {MOST_SECONDS:.0f} s, {name}"
    return [
        Measure(f"{what}: from the change of state to its notice", "s", waits.late()),
        Measure(f"{what}: clients", "clients", [waits.run.clients]),
        Measure(f"{what}: memory a wait", "kB", [waits.run.bytes_per_wait() / 1000]),
        Measure(f"{what}: of a core while all wait", "%", [waits.run.core_share(min(waits.changed_at))]),
        Measure(f"{what}: calls a wait", "calls", [waits.calls / WAITS]),
    ]


class Domains:
    """Domains of a simulator, each with a package that is put on it."""

    def __init__(self, control: PackagesControl, number: int = WAITS) -> None:
        import boto3

        self._control = control
        self._number = number
        self._aws: Any = boto3.client("opensearch")
        self._s3: Any = boto3.client("s3")
        self._fingerprint = ""
        self._packages: list[str] = []

    def associate(
        self,
        least_seconds: float,
        most_seconds: float,
        *,
        age_seconds: float = 0,
        warm_seconds: float = WARM_SECONDS,
        count_after_seconds: float = COUNT_AFTER_SECONDS,
        classpath: str = SHARED,
    ) -> Waits:
        """Put each package on its domain and wait for all of it in one trigger runner; what the simulator held before is gone.

        :param least_seconds: in which the quickest association is through; the slowest takes ``most_seconds``
        :param age_seconds: of the waits when the runner gets them
        :param count_after_seconds: when the clients are counted, from the moment at which the runner has the waits
        """
        self._furnish()
        waits = [self._begin(number, random.uniform(least_seconds, most_seconds)) for number in range(self._number)]
        self._control.reset_calls()
        times = {"age_seconds": age_seconds, "warm_seconds": warm_seconds, "count_after_seconds": count_after_seconds}
        found = run({"classpath": classpath, "waits": waits, **times, "seconds": most_seconds + 120})
        calls = sum(self._control.calls().values())
        active = {row.package_id: row.time for row in self._control.transitions() if row.domain and row.after == "ACTIVE"}
        return Waits(found, [active[package_id] for package_id in self._packages], calls)

    def _furnish(self) -> None:
        """Domains, and packages that are available."""
        self._control.reset()
        self._control.speed(1000)
        self._control.settings(max_packages=self._number)  # the quota is 25 a Region
        content, bucket = b"a, b\n", f"many-{time.time_ns()}"
        self._fingerprint = sha256(content)
        self._s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self._s3.meta.region_name})
        self._s3.put_object(Bucket=bucket, Key="words", Body=content)
        self._packages = [self._create(f"many-{number}", bucket) for number in range(self._number)]
        while not self._available().issuperset(self._packages):
            time.sleep(0.1)
        self._control.speed(1)

    def _create(self, name: str, bucket: str) -> str:
        self._control.domain(name)
        answer = self._aws.create_package(
            PackageName=name,
            PackageType="TXT-DICTIONARY",
            PackageSource={"S3BucketName": bucket, "S3Key": "words"},
            PackageDescription=commit_message(self._fingerprint),
        )
        return str(answer["PackageDetails"]["PackageID"])

    def _available(self) -> set[str]:
        return {row.package_id for row in self._control.transitions() if row.after == "AVAILABLE"}

    def _begin(self, number: int, seconds: float) -> dict[str, Any]:
        """Begin an association.

        :return: the arguments of the wait for it
        """
        package_id, domain = self._packages[number], f"many-{number}"
        self._control.durations(associating=seconds)
        self._aws.associate_package(PackageID=package_id, DomainName=domain)
        wanted = {"package_id": package_id, "domain_name": domain, "fingerprint": self._fingerprint, "version": "v1"}
        return {**wanted, **CONNECTION, "timeout_seconds": 1800}


def run(order: Mapping[str, Any]) -> Run:
    """Let one trigger runner do all the waits of an order; the environment of this process is its own."""
    command = [sys.executable, "-m", "benchmarks.triggerer"]
    done = subprocess.run(command, input=json.dumps(order), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"expected the trigger runner to end by itself, found exit code {done.returncode}: {done.stderr[-4000:]}"
        )
    return Run.read(done.stdout.splitlines()[-1])
