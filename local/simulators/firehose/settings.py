"""What can be set while the simulator runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

MIB = 1024 * 1024
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "call_limit_counts": ("base64", "raw"),
    "over_quota": ("records", "call"),
    "conflict": ("failure", "retry", "delivered"),
    "failure_folder": ("AmazonOpenSearchService_failed", "AmazonOpenSearchService-failed", "elasticsearch_failed"),
}
_QUOTAS = ("bytes_per_second", "records_per_second", "requests_per_second")


@dataclass(frozen=True, slots=True)
class Settings:
    """Service times are divided by ``speed``; the quotas and the ``slow`` faults are of the wall clock.

    ``…_per_second``         the quotas of each stream (developer guide, "Quota": those of ap-northeast-1); null for none
    ``burst_seconds``        how many seconds' quota an idle stream saves up [unknown]; at least one record has to fit in
    ``over_quota``           ``records``: those over the quota fail one by one; ``call``: the whole call does
    ``call_limit_counts``    what the 4 MiB of a call are counted on: ``base64`` or ``raw``
    ``conflict``             an item's 409 is a ``failure`` at once, a failure after a ``retry`` as long as for a 429, or ``delivered``
    ``failure_folder``       where failed documents go, below the prefix
    """

    speed: float = 1.0
    creating_seconds: float = 10.0
    deleting_seconds: float = 10.0
    bytes_per_second: float | None = MIB
    records_per_second: float | None = 100_000
    requests_per_second: float | None = 1_000
    burst_seconds: float = 1.0
    over_quota: str = "records"
    call_limit_counts: str = "base64"
    retry_first_seconds: float = 1.0
    retry_max_seconds: float = 30.0
    conflict: str = "failure"
    failure_folder: str = "AmazonOpenSearchService_failed"

    def changed(self, values: Mapping[str, Any]) -> Self:
        """These settings with some replaced.

        :raises ValueError: a name or a value that there is not
        """
        known = {field.name for field in fields(self)}
        if unknown := set(values) - known:
            raise ValueError(f"expected some of {', '.join(sorted(known))}, found {', '.join(sorted(unknown))}")
        for name, value in values.items():
            if name in _CHOICES:
                if value not in _CHOICES[name]:
                    raise ValueError(f"{name}: expected one of {', '.join(_CHOICES[name])}, found {value!r}")
            elif not (value is None and name in _QUOTAS) and not _is_number(value, above=name == "speed" or name in _QUOTAS):
                raise ValueError(f"{name}: expected a number of at least 0, above it for a speed or a quota, found {value!r}")
        return replace(self, **values)


def _is_number(value: Any, *, above: bool) -> bool:
    return isinstance(value, int | float) and (value > 0 if above else value >= 0)
