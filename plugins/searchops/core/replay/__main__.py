"""``python -m searchops.core.replay advise TABLE``: is a DynamoDB table fit for replays, and what would have to change. Writes nothing.

Exit status: 0 it is fit, 1 something is to be changed, 2 it could not be looked at (no such table, no permission, a wrong argument).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from searchops.core.errors import DataError, SearchOpsError
from searchops.core.replay.advise import Advice, advise, find_dates
from searchops.core.replay.calls import NotAllowed
from searchops.core.replay.consumers import function_of, read_mappings
from searchops.core.replay.cost import PRICE_LIST_REGION, PriceUnknown, listed_price
from searchops.core.replay.findings import note
from searchops.core.replay.preflight import Clients, preflight
from searchops.core.replay.records import MARKER
from searchops.core.replay.selection import day_of, day_values
from searchops.core.replay.settings import Consumer, Settings
from searchops.core.replay.table import TableFacts, read_table

FIT, TO_CHANGE, NOT_SEEN = 0, 1, 2
MakeClient = Callable[..., Any]
"""boto3's ``Session.client``: the name of a service, and ``region_name``."""


def advice_of(options: argparse.Namespace, client: MakeClient) -> Advice:
    """
    :raises SearchOpsError: it could not be looked at
    """
    dynamodb, functions = client("dynamodb"), client("lambda")
    facts = read_table(dynamodb, options.table)
    dates = find_dates(facts, options.index, format=options.format, timezone=options.timezone, shards=options.shards)
    now = datetime.now(UTC)
    day_values(day_of(now, options.timezone), options.format, options.shards)  # refuses what is no format, zone or number
    settings = Settings(
        options.table,
        marker=options.marker,
        wcu_per_second=options.wcu,
        dates=dates,
        consumers=_consumers(functions, facts, options.table),
    )
    looked = preflight(settings, Clients(dynamodb, functions), now=now, touches=False)
    findings, price = list(looked.findings), None
    if options.prices:
        try:
            price = listed_price(client("pricing", region_name=PRICE_LIST_REGION), dynamodb.meta.region_name)
        except PriceUnknown as unknown:
            findings.append(note("expected the prices of the Region", "none", str(unknown)))
    return advise(settings, looked.facts, tuple(findings), new_items_per_second=options.new_items_per_second, price=price)


def _consumers(client: Any, facts: TableFacts, table: str) -> tuple[Consumer, ...]:
    """Whoever is mapped to the stream; preflight says where that may not be seen."""
    if facts.stream_arn is None:
        return ()
    try:
        mapped = read_mappings(client, Settings(table), facts)
    except NotAllowed:
        return ()
    return tuple(Consumer(function=name) for name in sorted({function_of(mapping) for mapping in mapped.of_stream}))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m searchops.core.replay", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("advise", help="is a table fit for replays", description=__doc__)
    command.add_argument("table", metavar="TABLE", help="its name in AWS")
    command.add_argument("--region", help="default: that of the environment or the profile")
    command.add_argument("--profile", help="of AWS's configuration files")
    command.add_argument("--index", help="the index of days; default: the one whose key is called like a day")
    command.add_argument(
        "--format", default="%Y%m%d", help="how a day is written, in the words of strftime; default: %(default)r"
    )
    command.add_argument("--timezone", default="UTC", help="in which the application takes the day; default: %(default)s")
    command.add_argument("--shards", type=int, default=0, help="how many keys a day has, where it is spread")
    command.add_argument("--marker", default=MARKER, help="attribute that a touch sets; default: %(default)s")
    command.add_argument("--wcu", type=float, default=100.0, help="write units a second of a replay; default: %(default)g")
    command.add_argument("--new-items-per-second", type=float, default=0.0, help="that the application makes at its peak")
    command.add_argument("--prices", action="store_true", help="ask the AWS Price List API, too (pricing:GetProducts)")
    command.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    try:
        advice = advice_of(options, _clients(options))
    except SearchOpsError as error:
        reason = f" ({error.reason})" if error.reason and error.reason not in str(error) else ""
        print(f"{error}{reason}", file=sys.stderr)
        return NOT_SEEN
    print(json.dumps(advice.to_json(), ensure_ascii=False, indent=1) if options.json else advice.text())
    return FIT if advice.is_fit else TO_CHANGE


def _clients(options: argparse.Namespace) -> MakeClient:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        make: MakeClient = boto3.session.Session(profile_name=options.profile, region_name=options.region).client
        make("dynamodb")
    except (BotoCoreError, ValueError) as error:
        raise DataError(
            "no clients of AWS can be made: check --region, --profile and the environment", reason=str(error)
        ) from error
    return make


if __name__ == "__main__":
    sys.exit(main())
