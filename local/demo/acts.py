"""The acts of the demo, those of the dictionaries in full. Each measures; what does not come true raises, and the act has not passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.demo import idempotency, loads, replays
from local.demo.checks import Facts, NotTrue, require
from local.demo.dataset import SYNONYMS, USER_DICTIONARY, Found
from local.demo.world import ARCHIVE, ARCHIVE_SYNONYMS, DOMAIN, PACKAGE_IDS, SPEED, World

PACKAGES = (USER_DICTIONARY, SYNONYMS)
# The reads and writes of the package API, as the simulator counts them.
WRITES = ("CreatePackage", "UpdatePackage", "AssociatePackage", "DissociatePackage")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a DAG that has ended."""

    world: World
    dag_id: str
    run_id: str
    state: str
    seconds: float

    @property
    def tasks(self) -> Mapping[str, str | None]:
        return self.world.cloud.airflow.task_states(self.dag_id, self.run_id)

    def failed(self) -> list[str]:
        return [task for task, state in self.tasks.items() if state == "failed"]

    def xcom(self, task_id: str) -> Any:
        return self.world.cloud.airflow.xcom(self.dag_id, self.run_id, task_id)

    def log(self, task_id: str, try_number: int = 1) -> str:
        return self.world.cloud.airflow.log(self.dag_id, self.run_id, task_id, try_number)

    def require(self, state: str) -> None:
        if self.state != state:
            logs = "\n".join(f"--- {task}\n{self.log(task)[-1500:]}" for task in self.failed())
            raise NotTrue(f"expected the run to be {state}, found {self.state}: {dict(self.tasks)}\n{logs}")


def start(world: World, domain: str = DOMAIN, **conf: Any) -> str:
    return world.cloud.airflow.trigger(f"dictionary_sync_{domain}", conf)


def finish(world: World, run_id: str, domain: str = DOMAIN, *, began: float | None = None) -> Run:
    dag_id = f"dictionary_sync_{domain}"
    began = time.monotonic() if began is None else began
    state = world.cloud.airflow.wait(dag_id, run_id, timeout=300)
    return Run(world, dag_id, run_id, state, time.monotonic() - began)


def run(world: World, domain: str = DOMAIN, **conf: Any) -> Run:
    began = time.monotonic()
    return finish(world, start(world, domain, **conf), domain, began=began)


def told(world: World, count: int) -> list[str]:
    """The texts that Slack has got, once there are as many as expected."""
    assert world.slack is not None  # the demo runs with all services
    end = time.monotonic() + 60
    while len(messages := world.slack.messages()) < count and time.monotonic() < end:
        time.sleep(0.2)
    require(len(messages) == count, f"{count} Slack messages", len(messages))
    return [str(message["text"]) for message in messages]


def hits(found: list[Found]) -> int:
    return sum(result.hit for result in found)


def example(before: list[Found], after: list[Found], dictionary: str) -> Facts:
    """One search in both states."""
    was, becomes = next((b, a) for b, a in zip(before, after, strict=True) if a.search.dictionary == dictionary)
    return {
        "search": becomes.search.text,
        "tokens before": " ".join(was.tokens),
        "tokens after": " ".join(becomes.tokens),
        "documents before": was.total,
        "documents after": becomes.total,
    }


def live(world: World) -> Facts:
    """Searches that miss hit after a run on new dictionaries."""
    searches = world.searches(user_dictionary=0, synonyms=0)
    before = world.measure(searches)
    require(hits(before) == 0, "every search to miss before", f"{hits(before)} hits")
    done = run(world)
    done.require("success")
    after = world.measure(searches)
    require(hits(after) == len(searches), f"all {len(searches)} searches to hit after", hits(after))
    return {
        "documents": world.node.count(index="products")["count"],
        "searches": len(searches),
        "hits before": hits(before),
        "hits after": hits(after),
        "a word": example(before, after, USER_DICTIONARY),
        "a spelling": example(before, after, SYNONYMS),
        "run seconds": round(done.seconds, 1),
        "seconds closed for the user dictionary": done.xcom(f"{USER_DICTIONARY}.apply"),
        "verified": [text for package in PACKAGES for text in done.xcom(f"{package}.verify").values()],
    }


def unchanged(world: World) -> Facts:
    """A second run looks and does nothing."""
    world.packages.reset_calls()
    done = run(world)
    done.require("success")
    calls = world.packages.calls()
    written = {operation: count for operation, count in calls.items() if operation in WRITES}
    require(not written, "no write", written)
    require(sum(calls.values()) <= 4 * len(PACKAGES), f"at most 4 calls a dictionary of {len(PACKAGES)}", calls)
    states = done.tasks
    ran = sorted(task for task, state in states.items() if state == "success")
    require(ran == sorted(f"{package}.plan" for package in PACKAGES), "only the two plan tasks to run", ran)
    return {
        "calls to the package API": calls,
        "calls": sum(calls.values()),
        "writes": 0,
        "calls to the node": {package: done.xcom(f"{package}.plan")["node_calls"] for package in PACKAGES},
        "tasks run": len(ran),
        "tasks skipped": sum(state == "skipped" for state in states.values()),
        "run seconds": round(done.seconds, 1),
    }


def refused(world: World) -> Facts:
    """A dictionary that the engine does not build never reaches the domain."""
    assert world.slack is not None  # the demo runs with all services
    world.slack.reset()
    held = [
        world.package(PACKAGE_IDS[USER_DICTIONARY])["AvailablePackageVersion"],
        world.association(PACKAGE_IDS[USER_DICTIONARY]),
    ]
    bad = world.data.refused_user_dictionary
    world.project.put(USER_DICTIONARY, bad.content)
    try:
        done = run(world)
        done.require("failed")
    finally:
        world.use(user_dictionary=0)
    require(done.failed() == [f"{USER_DICTIONARY}.plan"], "the plan task to fail", done.failed())
    holds = [
        world.package(PACKAGE_IDS[USER_DICTIONARY])["AvailablePackageVersion"],
        world.association(PACKAGE_IDS[USER_DICTIONARY]),
    ]
    require(held == holds, "package and domain as before", holds)
    searches = world.searches(user_dictionary=0, synonyms=0)
    require(hits(world.measure(searches)) == len(searches), "all searches to hit as before")
    text = told(world, 1)[0]
    return {
        "bad line": f"{bad.line}: {bad.text}",
        "failed task": done.failed()[0],
        "package version before and after": holds[0],
        "run seconds": round(done.seconds, 1),
        "Slack": text,
    }


def lagging(world: World) -> Facts:
    """A domain that reads ACTIVE all the time: the run waits for the version."""
    package_id = PACKAGE_IDS[SYNONYMS]
    old = world.association(package_id)["PackageVersion"]
    searches = list(world.data.synonyms[1].searches)
    before = hits(world.measure(searches))
    world.packages.durations(associating=0.0)
    # What people and runs read of the association is this old, until it is shown as it is: in between nobody sees it ASSOCIATING.
    lag_seconds, shown_after_seconds = 14.0, 10.0
    world.packages.fault("lag", "ListDomainsForPackage", package_id=package_id, seconds=lag_seconds * SPEED)
    world.use(synonyms=1)
    seen: dict[str, int] = {}
    try:
        since, began, run_id = time.time(), time.monotonic(), start(world)
        while world.cloud.airflow.run(f"dictionary_sync_{DOMAIN}", run_id)["state"] not in ("success", "failed"):
            row = world.association(package_id)
            reading = f"{row['DomainPackageStatus']} {row['PackageVersion']}"
            seen[reading] = seen.get(reading, 0) + 1
            if (active := active_since(world, package_id, since)) and time.time() > active + shown_after_seconds:
                world.packages.clear_faults()
            time.sleep(0.3)
        done = finish(world, run_id, began=began)
    finally:
        world.packages.clear_faults()
        world.packages.durations(associating=45.0)
    done.require("success")
    new = world.association(package_id)["PackageVersion"]
    require(new != old, "another version on the domain", new)
    require(all(reading.startswith("ACTIVE") for reading in seen), "ACTIVE all the time", seen)
    require(seen.get(f"ACTIVE {old}", 0) > 0, f"ACTIVE {old} while it waited", seen)
    waited = done.xcom(f"{SYNONYMS}.wait_for_domain")
    require(waited["version"] == new, f"the wait to end with {new}", waited["version"])
    after = hits(world.measure(searches))
    require((before, after) == (0, len(searches)), f"0 hits before and {len(searches)} after", (before, after))
    return {
        "readings": seen,
        "lag seconds": shown_after_seconds,
        "wait ended with": waited["version"],
        "hits before": before,
        "hits after": after,
        "run seconds": round(done.seconds, 1),
    }


def active_since(world: World, package_id: str, since: float) -> float | None:
    """When the association really became ACTIVE again after ``since`` (both epoch seconds)."""
    changes = world.packages.transitions(package_id, DOMAIN)
    return next((change.time for change in changes if change.after == "ACTIVE" and change.time > since), None)


def drifted(world: World) -> Facts:
    """Somebody published by hand over our version; the domain is ACTIVE on the old one."""
    assert world.slack is not None  # the demo runs with all services
    world.slack.reset()
    package_id = PACKAGE_IDS[SYNONYMS]
    package = world.publish_by_hand(package_id, "人工, 人造\n".encode(), "quick fix")
    row = world.association(package_id)
    require(row["DomainPackageStatus"] == "ACTIVE", "the association to be ACTIVE", row["DomainPackageStatus"])
    require(row["PackageVersion"] != package["AvailablePackageVersion"], "the domain on the older version", row["PackageVersion"])
    done = run(world)
    done.require("failed")
    require(done.failed() == [f"{SYNONYMS}.drift"], "the task drift to fail", done.failed())
    text = told(world, 1)[0]
    after = world.package(package_id)["AvailablePackageVersion"]
    require(after == package["AvailablePackageVersion"], "nothing to be published", after)
    return {
        "available version": package["AvailablePackageVersion"],
        "version on the domain": row["PackageVersion"],
        "status on the domain": row["DomainPackageStatus"],
        "failed task": done.failed()[0],
        "Slack": text,
        "run seconds": round(done.seconds, 1),
    }


def adopted(world: World) -> Facts:
    """The first run on a package that nobody of ours has published."""
    answer = world.aws.describe_packages(Filters=[{"Name": "PackageName", "Value": [ARCHIVE_SYNONYMS]}])
    before = answer["PackageDetailsList"][0]
    done = run(world, ARCHIVE)
    done.require("success")
    planned = done.xcom(f"{ARCHIVE_SYNONYMS}.plan")
    require("is adopted" in planned["reason"], "the plan to say that the package is adopted", planned["reason"])
    history = world.aws.get_package_version_history(PackageID=before["PackageID"])["PackageVersionHistoryList"]
    messages = {row["PackageVersion"]: row.get("CommitMessage", "(none)") for row in history}
    after = world.package(before["PackageID"])["AvailablePackageVersion"]
    require(messages[after].startswith(f"searchops sha256={planned['fingerprint']}"), "our message on the new version", messages)
    return {
        "plan": planned["reason"],
        "history": messages,
        "verified": list(done.xcom(f"{ARCHIVE_SYNONYMS}.verify").values()),
        "run seconds": round(done.seconds, 1),
    }


ACTS: Mapping[str, Mapping[str, Callable[[World], Facts]]] = {
    "dictionary": {
        "1 new words go live": live,
        "2 a second run does nothing": unchanged,
        "3 the engine refuses a dictionary": refused,
        "4 ACTIVE is not enough": lagging,
        "5 somebody published by hand": drifted,
        "6 a package is adopted": adopted,
    },
    "idempotency": idempotency.ACTS,
    "bulk": loads.ACTS,
    "replay": replays.ACTS,
}
"""By job, in the order in which they are played: later acts stand on earlier ones."""
