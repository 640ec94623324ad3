"""Run the simulator: ``python -m local.simulators.firehose --opensearch-url URL --s3-endpoint URL``."""

from __future__ import annotations

import argparse
import sys

from local.simulators.firehose.api import application
from local.simulators.firehose.effects import S3, OpenSearch
from local.simulators.firehose.service import FirehoseService
from local.simulators.firehose.settings import Settings
from local.simulators.http import serve


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.simulators.firehose", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--opensearch-url", required=True, help="the node to which every domain and endpoint leads")
    parser.add_argument("--s3-endpoint", required=True, help="where the buckets of the backups are")
    parser.add_argument("--speed", type=float, default=1.0, help="60 makes a minute of buffering or of retries a second")
    options = parser.parse_args(arguments)
    # A put has to be answered at once also while a delivery is prepared: the default lets the latter compute for 5 ms.
    sys.setswitchinterval(0.0005)
    service = FirehoseService(OpenSearch(options.opensearch_url), S3(options.s3_endpoint), Settings(speed=options.speed))
    serve(application(service), options.port)
    service.close()


if __name__ == "__main__":
    main()
