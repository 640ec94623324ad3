"""A package service without an engine, its clock and its bucket."""

from __future__ import annotations

from local.simulators.packages.model import Domain
from local.simulators.packages.objects import CopyFailed
from local.simulators.packages.service import PackageService
from local.simulators.packages.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """Objects in memory; one that is not there cannot be copied."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def fetch(self, bucket: str, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError as error:
            raise CopyFailed(f"s3://{bucket}/{key}: Not Found") from error


class World:
    """A service, its clock and its bucket; ``pass_time`` does what the ticker of the running simulator does."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = Clock()
        self.bucket = Bucket()
        self.service = PackageService(self.bucket, None, settings, self.clock)

    def settle(self) -> None:
        self.service.advance()
        while not self.service.commands.empty():
            self.service.perform(self.service.commands.get())
            self.service.advance()

    def pass_time(self, seconds: float) -> None:
        self.settle()
        self.clock.now += seconds
        self.settle()

    def domain(self, name: str, *, serial_only: bool = True) -> None:
        self.service.put_domain(Domain(name, None, serial_only))
