"""A plan in words, for a log or a terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from searchops.core.replay.findings import Level

if TYPE_CHECKING:
    from searchops.core.replay.plan import Plan


def lines(plan: Plan) -> Iterator[str]:
    about = "" if plan.exact else " (DynamoDB's own number, up to six hours old)"
    yield f"Replay of {plan.table}: {json.dumps(plan.selection, ensure_ascii=False)}"
    yield f"items            {plan.items:,}{about}, {_size(plan.bytes)}"
    left = {"gone": plan.gone, "expired": plan.expired, "too large": plan.too_large, "other marker": plan.foreign_marker}
    if named := ", ".join(f"{name} {number:,}" for name, number in left.items() if number):
        yield f"left alone       {named}"
    if plan.without_date is not None:
        yield f"without the date {plan.without_date:,} items of the table, which no replay by date finds"
    yield f"read units       {plan.read_units:,.1f}"
    yield f"write units      {plan.table_units:,.0f} of the table, {plan.index_units:,.0f} of its indexes"
    yield f"duration         {_duration(plan.seconds)} at {plan.wcu_per_second:g} write units a second, if the consumers keep up"
    yield f"cost             {plan.cost or f'not known: {plan.cost_unknown}'}"
    if plan.not_rewritten:
        yield f"not rewritten    {plan.not_rewritten:,} documents, which have the version of their item already"
    for sentence in plan.consumers:
        yield f"consumers        {sentence}"
    yield from _findings(plan)
    yield from _basis(plan)


def _findings(plan: Plan) -> Iterator[str]:
    for level in Level:
        yield from (f"{level:<16} {finding}" for finding in plan.findings if finding.level is level)


def _basis(plan: Plan) -> Iterator[str]:
    if plan.sampled < plan.items:
        yield f"estimated        from {plan.sampled:,} items that were read whole; all numbers but that of the items"
    elif not plan.items and plan.exact:
        yield "nothing to do    the selection is empty: the replay succeeds and touches nothing"
    elif not plan.items:
        yield "estimated        from some pages of the table: the filter left none of their items"


def _size(size: float) -> str:
    if size < 1024:
        return f"{size:,.0f} bytes"
    units = ("KB", "MB", "GB", "TB")
    power = min(len(units), int(math.log(size, 1024)))
    return f"{size / 1024**power:,.1f} {units[power - 1]}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts_ = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts_ if number) or "0 s"
