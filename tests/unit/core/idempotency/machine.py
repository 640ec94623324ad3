"""Three workers, a network that loses and holds back, clocks that differ: and a model that says what must never be seen.

Times are seconds of a clock that the test moves. ``S`` is how far a worker's clock may be off; what two of them agree on is known to 2 S.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from searchops.core.idempotency.model import Record, Status
from tests.unit.core.idempotency.algorithms import (
    KEEP,
    LEASE,
    Busy,
    Done,
    GuardWorker,
    Held,
    Lost,
    PowertoolsWorker,
    Refused,
    Unknown,
    Worker,
)
from tests.unit.core.idempotency.memory_table import Item, MemoryTable

S = 5
LEASED = LEASE.total_seconds() - 2 * S
KEPT = KEEP.total_seconds() - 2 * S
LONGEST_HELD = 400  # what the module of the guard allows is half of `keep`
WORKERS = 3
KEYS = ("a", "b")
STEALS = ("overtaken", "taken over")
FAULTS = ("none", "none", "resent", "answer lost", "not sent", "held", *STEALS)


class Violation(AssertionError):
    """A promise was broken."""


class Overwritten(Violation):
    """A late owner changed what its successor had."""


class LostResult(Violation):
    """A recorded result was not given to whoever asked."""


class TwoOwners(Violation):
    """A key was granted while another's lease ran."""


class Stuck(Violation):
    """A key could not be claimed although every lease had passed."""


class FenceFell(Violation):
    """A fence was not above those of the key before it."""


class TriedAgain(Violation):
    """What had failed for ever was granted, or completed."""


class RefusedForNothing(Violation):
    """A worker was turned away, or told that it lost, without a cause."""


class Network:
    """One worker's way to the table; ``fault`` is done to its next conditional write."""

    def __init__(
        self, table: MemoryTable, hold: Callable[[Callable[[], Any]], None], overtake: Callable[[str, bool], None]
    ) -> None:
        self.fault = "none"
        self._table = table
        self._hold = hold
        self._overtake = overtake

    def get_item(self, **request: Any) -> Any:
        return self._table.get_item(**request)

    def put_item(self, **request: Any) -> Any:
        return self._table.put_item(**request)

    def delete_item(self, **request: Any) -> Any:
        return self._table.delete_item(**request)

    def update_item(self, **request: Any) -> Any:
        def send() -> Any:
            return self._table.update_item(**request)

        fault = self.fault if "ConditionExpression" in request else "none"
        if fault != "none":
            self.fault = "none"
        match fault:
            case "not sent":
                raise ConnectTimeoutError(endpoint_url="memory")
            case "held":
                self._hold(send)
                raise ReadTimeoutError(endpoint_url="memory")
            case "answer lost":
                _answer_of(send)
                raise ReadTimeoutError(endpoint_url="memory")
            case "resent":
                _answer_of(send)
            case "overtaken" | "taken over":
                self._overtake(request["Key"]["id"]["S"], fault == "overtaken")
        return send()


def _answer_of(send: Callable[[], Any]) -> Any:
    try:
        return send()
    except ClientError:
        return None


@dataclass(eq=False)
class Owner:
    """A claim that was granted, as the model knows it. ``doubtful``: one of its calls had no answer."""

    worker: int
    key: str
    payload: int
    held: Held
    doubtful: bool = False


@dataclass(frozen=True)
class Attempt:
    """To complete; its place in the list is the number that its result holds."""

    key: str
    payload: int
    at: float


@dataclass
class Model:
    """What was told to workers, by key: results and until when they must stand, leases and until when, failures, fences."""

    recorded: dict[str, tuple[int, float]] = field(default_factory=dict)
    leases: dict[str, tuple[Owner, float]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    perhaps_failed: set[str] = field(default_factory=set)
    fences: dict[str, int] = field(default_factory=dict)
    payloads: dict[str, set[int]] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)

    def result_of(self, key: str, now: float) -> int | None:
        number, until = self.recorded.get(key, (None, 0.0))
        return number if now < until else None

    def owner_of(self, key: str, now: float) -> Owner | None:
        owner, until = self.leases.get(key, (None, 0.0))
        return owner if now < until else None


class ClaimMachine(RuleBasedStateMachine):
    """The promises as any caller sees them; a subclass names the algorithm and what may happen to it."""

    algorithm: ClassVar[Callable[[Any, Callable[[], float]], Worker]]
    faults: ClassVar[tuple[str, ...]] = ("none",)
    skews: ClassVar[tuple[int, ...]] = (0,)
    payloads: ClassVar[tuple[int, ...]] = (1,)
    only_completes: ClassVar[bool] = False
    expiry: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_800_000_000.0
        self.table = MemoryTable(self.seen)
        self.model = Model()
        self.owners: list[Owner] = []
        self.held: list[tuple[float, Callable[[], Any]]] = []
        self.breach: Violation | None = None

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.skew = [data.draw(st.sampled_from(self.skews), label="skew") for _ in range(WORKERS)]
        self.workers = [self.new_worker(skew) for skew in self.skew]

    def new_worker(self, skew: int = 0) -> tuple[Worker, Network]:
        network = Network(self.table, lambda send: self.held.append((self.now, send)), self.overtake)
        return type(self).algorithm(network, lambda: self.now + skew), network

    def seen(self, key: str, before: Item | None, after: Item | None) -> None:
        """For what only the table shows."""

    # What workers do

    @rule(number=st.integers(0, WORKERS - 1), key=st.sampled_from(KEYS), data=st.data())
    def claim(self, number: int, key: str, data: st.DataObject) -> None:
        worker, network = self.workers[number]
        payload = data.draw(st.sampled_from(self.payloads), label="payload")
        with self.fault_on(network, data):
            self.ask(worker, key, payload, number)

    def ask(self, worker: Worker, key: str, payload: int, number: int = -1) -> Owner | None:
        """Claim, and compare the answer with the model."""
        model, now = self.model, self.now
        model.payloads.setdefault(key, set()).add(payload)
        recorded = model.result_of(key, now)
        try:
            found = worker.claim(key, payload)
        except Busy:
            self.expect(recorded is None, LostResult, f"{key}: busy, although {recorded} was recorded")
            self.expect(key not in model.failed, RefusedForNothing, f"{key}: busy, although it had failed")
            raise
        except Refused:
            others = len(model.payloads[key]) > 1
            self.expect(others or key in model.perhaps_failed, RefusedForNothing, f"{key}: refused without a cause")
            self.expect(
                recorded is None or model.attempts[recorded].payload != payload,
                LostResult,
                f"{key}: refused, {recorded} was recorded",
            )
            return None
        if isinstance(found, Done):
            self.given(key, payload, found.result["number"])
            return None
        self.expect(recorded is None, LostResult, f"{key}: granted, although {recorded} was recorded")
        self.expect(key not in model.failed, TriedAgain, f"{key}: granted, although it had failed")
        self.expect(model.owner_of(key, now) is None, TwoOwners, f"{key}: granted, although another owner's lease runs")
        if found.fence is not None:
            last = model.fences.get(key, 0)
            self.expect(found.fence > last, FenceFell, f"{key}: fence {found.fence} after {last}")
            model.fences[key] = found.fence
        owner = Owner(number, key, payload, found)
        model.leases[key] = (owner, now + LEASED)
        self.owners.append(owner)
        return owner

    def given(self, key: str, payload: int, number: int) -> None:
        """A stored result was the answer."""
        model, attempt = self.model, self.model.attempts[number]
        self.expect((attempt.key, attempt.payload) == (key, payload), LostResult, f"{key}: got the result of {attempt}")
        self.expect(model.result_of(key, self.now) in (None, number), Overwritten, f"{key}: {number} in place of another result")
        self.expect(key not in model.failed, TriedAgain, f"{key}: done, although it had failed")
        model.recorded[key] = (number, attempt.at + KEPT)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners), label="owner")
        number = len(self.model.attempts)
        self.model.attempts.append(Attempt(owner.key, owner.payload, self.now))
        recorded: list[int] = []  # another number than this one, if an earlier try of the same owner had come through
        if self.act(owner, data, lambda: recorded.append(owner.held.complete({"number": number})["number"])):
            self.expect(recorded == [number] or owner.doubtful, Overwritten, f"{owner.key}: {number} was completed as {recorded}")
            if recorded == [number]:
                self.expect_no_successor(owner, "completed")
            self.given(owner.key, owner.payload, recorded[0])
            self.end(owner)

    @precondition(lambda self: self.owners and not self.only_completes)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners), label="owner")
        if self.act(owner, data, owner.held.release):
            self.expect_no_successor(owner, "released")
            self.end(owner)

    @precondition(lambda self: self.owners and not self.only_completes)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners), label="owner")
        self.model.perhaps_failed.add(owner.key)
        if self.act(owner, data, lambda: owner.held.fail("bad data")):
            self.expect_no_successor(owner, "failed")
            self.model.failed.add(owner.key)
            self.end(owner)

    @precondition(lambda self: self.owners and not self.only_completes)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners), label="owner")
        if self.act(owner, data, owner.held.extend) and owner in self.owners:
            self.expect_no_successor(owner, "extended")
            if not owner.doubtful:  # else it asked for the end of its claim, and the network may still hold that
                self.model.leases[owner.key] = (owner, self.now + LEASED)

    def act(self, owner: Owner, data: st.DataObject, call: Callable[[], None]) -> bool:
        """Whether the owner was told that it worked."""
        running = self.model.owner_of(owner.key, self.now) is owner
        with self.fault_on(self.workers[owner.worker][1], data) as fault:
            try:
                call()
            except Unknown:
                owner.doubtful = True
                self.model.leases.pop(owner.key, None) if running else None
                return False
            except Lost:
                self.expect(
                    not running or owner.doubtful or fault in STEALS,
                    RefusedForNothing,
                    f"{owner.key}: lost in the middle of its lease",
                )
                self.end(owner)
                return False
        return True

    def expect_no_successor(self, owner: Owner, what: str) -> None:
        key, model = owner.key, self.model
        recorded, running = model.result_of(key, self.now), model.owner_of(key, self.now)
        self.expect(recorded is None, Overwritten, f"{key}: {what} by a late owner, although {recorded} was recorded")
        self.expect(running in (None, owner), Overwritten, f"{key}: {what} by a late owner in the lease of its successor")
        self.expect(key not in model.failed, TriedAgain, f"{key}: {what} by a late owner, although it had failed")

    def end(self, owner: Owner) -> None:
        if owner in self.owners:
            self.owners.remove(owner)
        if self.model.leases.get(owner.key, (None, 0))[0] is owner:
            del self.model.leases[owner.key]

    # What happens to them

    @rule(number=st.integers(0, WORKERS - 1))
    def crash(self, number: int) -> None:
        """What it had in hand is gone; its leases run on."""
        self.workers[number] = self.new_worker(self.skew[number])
        self.owners = [owner for owner in self.owners if owner.worker != number]

    @rule(seconds=st.sampled_from([1, 20, 55, 61, 75, 130, 240, 260, 600, 989, 1001, 1020]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """What the network held back arrives."""
        since, send = self.held.pop(data.draw(st.integers(0, len(self.held) - 1), label="held"))
        if self.now - since < LONGEST_HELD:
            _answer_of(send)

    @rule(data=st.data())
    def remove_expired(self, data: st.DataObject) -> None:
        """TTL, some time after an item has expired."""
        items = self.table.items.items()
        expired = [id_ for id_, item in items if self.expiry in item and int(item[self.expiry]["N"]) <= self.now]
        if expired:
            self.table.remove(data.draw(st.sampled_from(expired), label="expired"))

    @rule(key=st.sampled_from(KEYS))
    def rescue(self, key: str) -> None:
        """After every lease a new worker comes through, whatever happened before."""
        self.now += LEASE.total_seconds() + 2 * S + 1
        self.held.clear()
        owner = None
        with self.watched():
            try:
                owner = self.ask(self.new_worker()[0], key, self.payloads[0])
            except (Busy, Unknown) as error:
                self.expect(False, Stuck, f"{key}: {error!r} after every lease has passed")
        if owner:
            self.owners.remove(owner)

    def overtake(self, id_: str, lets_go: bool) -> None:
        """Another one is faster, between the thought of a worker and its request."""
        key = id_.rpartition("#")[2]
        owner = None
        with suppress(Busy, Unknown):
            owner = self.ask(self.new_worker()[0], key, self.payloads[0])
        if owner:
            self.owners.remove(owner)
            if lets_go:
                owner.held.release()
                self.end(owner)

    @contextmanager
    def fault_on(self, network: Network, data: st.DataObject) -> Iterator[str]:
        network.fault = data.draw(st.sampled_from(self.faults), label="fault")
        with self.watched(), suppress(Busy, Unknown):
            yield network.fault
        network.fault = "none"

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A breach that was seen inside a call of the algorithm comes out as it is, not as the algorithm wraps errors of its client."""
        try:
            yield
        finally:
            if self.breach:
                raise self.breach from None

    def expect(self, holds: bool, violation: type[Violation], text: str) -> None:
        if not holds:
            self.breach = self.breach or violation(text)
            raise self.breach


class PowertoolsMachine(ClaimMachine):
    """Nothing but pauses and crashes, on one clock."""

    algorithm = PowertoolsWorker
    expiry = "expiration"
    only_completes = True


class GuardMachine(ClaimMachine):
    """Everything at once; and what happens to the items is watched as well."""

    algorithm = GuardWorker
    expiry = "expires_at"
    faults = FAULTS
    skews = (-S, 0, S)
    payloads = (1, 1, 1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.last_fence: dict[str, int] = {}

    @rule(number=st.integers(0, WORKERS - 1), key=st.sampled_from(KEYS), data=st.data())
    def reset(self, number: int, key: str, data: st.DataObject) -> None:
        worker, network = self.workers[number]
        known = key in self.model.failed
        with self.fault_on(network, data):
            self.model.failed.discard(key)
            try:
                done = worker.reset(key)
            except Unknown:
                return
            self.expect(done or not known, RefusedForNothing, f"{key}: had failed, and was not reset")
            self.expect(not done or key in self.model.perhaps_failed, TriedAgain, f"{key}: reset, although it had not failed")

    def seen(self, key: str, before: Item | None, after: Item | None) -> None:
        if not key.startswith("claim#") or after is None:
            return
        old, new = Record.from_item(before) if before else None, Record.from_item(after)
        expired = old is None or (old.expires_at is not None and old.expires_at <= self.now + S)
        last = self.last_fence.get(key, 0)
        if old is None or new.fence != old.fence:
            self.expect(new.fence > last, FenceFell, f"{key}: fence {new.fence} after {last}")
            self.last_fence[key] = new.fence
            self.expect(new.status is Status.IN_PROGRESS, Overwritten, f"{key}: {new.status} with a new fence")
        if old is None or expired:
            return
        self.expect(old.status is not Status.COMPLETED, Overwritten, f"{key}: a completed record was changed to {new}")
        self.expect(old.fingerprint == new.fingerprint, Overwritten, f"{key}: the payload was changed")
        if old.status is Status.IN_PROGRESS and old.owner != new.owner:
            self.expect(old.lease_until_ms <= (self.now + S) * 1000, TwoOwners, f"{key}: taken within its lease")
        if old.status is Status.FAILED_PERMANENT:
            self.expect(new.status is Status.RELEASED and new.reason == "", TriedAgain, f"{key}: failed before, now {new}")
        if new.status in (Status.COMPLETED, Status.FAILED_PERMANENT):
            self.expect(
                old.status is Status.IN_PROGRESS and old.owner == new.owner,
                Overwritten,
                f"{key}: {new.status} by one who did not own it",
            )
