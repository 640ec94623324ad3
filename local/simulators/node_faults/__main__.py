"""Run the proxy: ``python -m local.simulators.node_faults --node-url URL [--port PORT]``."""

from __future__ import annotations

import argparse

from local.simulators.http import serve
from local.simulators.node_faults.proxy import NodeFaults, ProxyServer


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.simulators.node_faults", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--node-url", required=True, help="the node that gets what passes")
    options = parser.parse_args(arguments)
    serve(NodeFaults(options.node_url), options.port, ProxyServer)


if __name__ == "__main__":
    main()
