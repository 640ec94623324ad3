"""Run the proxy: ``python -m local.simulators.dynamodb_faults --dynamodb-url URL [--port PORT]``."""

from __future__ import annotations

import argparse

from local.simulators.dynamodb_faults.proxy import DynamoDBFaults, ProxyServer
from local.simulators.http import serve


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.simulators.dynamodb_faults", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--dynamodb-url", required=True, help="the engine that gets what passes")
    options = parser.parse_args(arguments)
    serve(DynamoDBFaults(options.dynamodb_url), options.port, ProxyServer)


if __name__ == "__main__":
    main()
