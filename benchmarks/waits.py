"""How late and how dear waiting for AWS is, and what else a dictionary sync costs besides the work itself.

The simulator's clock runs as fast as ours and its states last as long as the goals were set for (AWS documents no times). What only waits runs all
at once; what needs the processor is measured after it, one thing at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import parsing, runs
from benchmarks.environment import client_of
from benchmarks.rounds import Order, Region, Round, at_once, in_series, in_turn
from benchmarks.waiting import CONNECTION, Content, FixedPolls, Triggers, Wait, Waiter, count_request
from local.cloud import Cloud
from local.results import Measure
from local.simulators.packages.control import PackagesControl
from local.simulators.packages.model import Transition

SECONDS = {"copying": 10.0, "validating": 5.0, "associating": 45.0, "dissociating": 10.0}
LONG_SECONDS = 600.0
ROUNDS, ORDERS = 8, 3
DICTIONARIES = ("user-dictionary", "synonyms")
LONGEST_TASK_START = 2.0
"""A wait begins up to this long after the call, because the task that waits has to be started."""
OURS, FIXED = "searchops", "fixed polls"
PACKAGE, ASSOCIATION, ROUND = "one package", "one association", "sum of a round"
RATIO = "wait overhead, sum of a round, searchops to fixed polls of 10 s and 60 s"
ORDERS_OF_WORK: Mapping[str, Callable[[Region, str, Sequence[Content]], Coroutine[Any, Any, Order]]] = {
    "in series": in_series,
    "at once, the failed one associated again": partial(at_once, dissociate_first=False),
    "at once, the failed one dissociated and associated": partial(at_once, dissociate_first=True),
}


def measure(directory: Path) -> list[Measure]:
    return [*waiting(directory / "waiting"), *parsing.measure(directory / "parsing"), *runs.measure(directory / "runs")]


def waiting(directory: Path) -> list[Measure]:
    """The part that only waits: as long as the longest wait."""
    with Cloud(directory, services=("opensearch", "aws", "packages"), speed=1) as cloud, client_of(cloud):
        return asyncio.run(_waiting(PackagesControl(cloud.endpoints["packages"])))


async def _waiting(control: PackagesControl) -> list[Measure]:
    import boto3

    from searchops.hooks.opensearch_service import OpenSearchServiceHook
    from searchops.triggers.dictionary import CADENCE

    if CADENCE.scale != 1:
        raise RuntimeError(f"expected the default cadence, found {CADENCE}: it was imported with another SEARCHOPS_POLL_SCALE")
    control.durations(**SECONDS)
    control.settings(max_packages=100)  # the quota is 25 a region; so many are made only to measure them side by side
    delays = [random.uniform(0, LONGEST_TASK_START) for _ in range(ROUNDS)]
    # With the arguments of the triggers' own hook, so that this is their client too.
    hook = OpenSearchServiceHook(**CONNECTION, verify=None, config=None)
    async with hook.shared_async_client() as client:
        client.meta.events.register("before-send", count_request)
        region = Region(client, boto3.client("s3"), control)
        ours, fixed, orders, long = await asyncio.gather(
            _rounds(region, OURS, Triggers(), delays),
            _rounds(region, FIXED, FixedPolls(client), delays),
            asyncio.gather(*[_orders(region, name) for name in ORDERS_OF_WORK]),
            _long(region, control),
        )
    transitions = control.transitions()
    return [
        *overheads({OURS: ours, FIXED: fixed}, transitions),
        Measure("start of the waiting task after the call", "s", delays),
        *calls({OURS: ours, FIXED: fixed}, long),
        *chain.from_iterable(order(name, found) for name, found in zip(ORDERS_OF_WORK, orders, strict=True)),
    ]


async def _rounds(region: Region, name: str, waiter: Waiter, delays: Sequence[float]) -> list[Round]:
    async def one(number: int, delay: float) -> Round:
        domain = region.domain(f"{name.replace(' ', '-')}-{number}")
        dictionaries = [await region.create(f"{domain}-{dictionary}") for dictionary in DICTIONARIES]
        return await in_turn(region, waiter, domain, dictionaries, delay)

    return await asyncio.gather(*[one(number, delay) for number, delay in enumerate(delays)])


async def _orders(region: Region, name: str) -> list[Order]:
    key = f"order-{list(ORDERS_OF_WORK).index(name)}"
    dictionaries = [await region.create(f"{key}-{dictionary}") for dictionary in DICTIONARIES]
    domains = [region.domain(f"{key}-{number}") for number in range(ORDERS)]
    return await asyncio.gather(*[ORDERS_OF_WORK[name](region, domain, dictionaries) for domain in domains])


async def _long(region: Region, control: PackagesControl) -> Wait:
    domain, content = region.domain("long"), await region.create("long")
    control.fault("slow_state", "AssociatePackage", package_id=content.package_id, factor=LONG_SECONDS / SECONDS["associating"])
    return await region.associate(Triggers(), content, domain)


def overheads(rounds: Mapping[str, Sequence[Round]], transitions: Sequence[Transition]) -> list[Measure]:
    """Seconds from the change of state to the moment at which the waiting side knew of it."""
    late = {name: [round_.late(transitions) for round_ in found] for name, found in rounds.items()}
    ratios = [ours / fixed for ours, fixed in zip(late[OURS], late[FIXED], strict=True)]
    measures = [Measure("wait overhead, sum of a round, searchops to fixed polls of 10 s and 60 s", "ratio", ratios, "<= 0.333")]
    for name, found in rounds.items():
        package, association = waits_of(found)
        measures += [
            Measure(overhead_name(ROUND, name), "s", late[name]),
            Measure(overhead_name(PACKAGE, name), "s", [wait.late(transitions) for wait in package]),
            Measure(overhead_name(ASSOCIATION, name), "s", [wait.late(transitions) for wait in association]),
            Measure(f"two dictionaries from the first call to the end, {name}", "s", [round_.seconds for round_ in found]),
        ]
    return measures


def overhead_name(what: str, name: str) -> str:
    return f"wait overhead, {what}, {name}"


def calls(rounds: Mapping[str, Sequence[Round]], long: Wait) -> list[Measure]:
    """What a wait itself asks; the look that its task takes before it defers comes on top."""
    measures = []
    for name, found in rounds.items():
        package, association = ([wait.requests for wait in waits] for waits in waits_of(found))
        if name == OURS:
            measures.append(
                Measure("calls of the trigger for a wait of 45 s, the most of all", "calls", [max(association)], "<= 10")
            )
            measures.append(Measure("calls of the trigger for a wait of 10 min", "calls", [long.requests], "<= 40"))
        measures.append(Measure(f"calls for the wait of 45 s for an association, {name}", "calls", association))
        measures.append(Measure(f"calls for the wait of 16 s for a package, {name}", "calls", package))
    return measures


def waits_of(rounds: Sequence[Round]) -> tuple[list[Wait], list[Wait]]:
    """Of packages and of associations."""
    return [wait for round_ in rounds for wait in round_.publish], [wait for round_ in rounds for wait in round_.associate]


def order(name: str, found: Sequence[Order]) -> list[Measure]:
    """The parallel order of associations beside the serial one; on a small domain one of two at once fails."""
    return [
        Measure(f"two associations {name}: both came through at the first try", "1 = yes", [int(one.both) for one in found]),
        Measure(f"two associations {name}: until that was known", "s", [one.known_seconds for one in found]),
        Measure(f"two associations {name}: until both were on the domain", "s", [one.done_seconds for one in found]),
    ]
