"""Run the simulator: ``python -m local.simulators.packages --s3-endpoint URL [--opensearch-url URL --analyzers-dir DIR]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from local.simulators.http import serve
from local.simulators.packages.api import application
from local.simulators.packages.node import OpenSearchEffects
from local.simulators.packages.objects import S3Objects
from local.simulators.packages.service import PackageService, Ticker
from local.simulators.packages.settings import Settings


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.simulators.packages", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--s3-endpoint", required=True, help="where the source objects are")
    parser.add_argument("--opensearch-url", help="the node on which domains with an endpoint act")
    parser.add_argument("--analyzers-dir", type=Path, help="config/analyzers of that node")
    parser.add_argument("--speed", type=float, default=1.0, help="60 makes a minute of the service a second")
    options = parser.parse_args(arguments)
    if (options.opensearch_url is None) != (options.analyzers_dir is None):
        parser.error("--opensearch-url and --analyzers-dir belong together: expected both or none")
    node = OpenSearchEffects(options.opensearch_url, options.analyzers_dir) if options.opensearch_url else None
    service = PackageService(S3Objects(options.s3_endpoint), node, Settings(speed=options.speed))
    ticker = Ticker(service)
    ticker.start()
    serve(application(service), options.port)
    ticker.stop()


if __name__ == "__main__":
    main()
