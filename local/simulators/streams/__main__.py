"""Run the poller: ``python -m local.simulators.streams --dynamodb-url URL --functions-url URL --aws-endpoint URL --state FILE``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import boto3
from botocore.config import Config

from local.simulators.http import serve
from local.simulators.streams.api import Pollers, application
from local.simulators.streams.effects import Destinations, Functions, Mappings, Metrics, Stream
from local.simulators.streams.orders import Orders
from local.simulators.streams.poller import Pace, Surroundings
from local.simulators.streams.progress import Checkpoints


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.simulators.streams", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--dynamodb-url", required=True, help="whose streams are read")
    parser.add_argument("--functions-url", required=True, help="where functions are called")
    parser.add_argument("--aws-endpoint", required=True, help="where mappings and destinations are, and the metrics go")
    parser.add_argument("--state", type=Path, required=True, help="file of the checkpoints; one that exists is gone on with")
    parser.add_argument("--speed", type=float, default=1.0, help="60 makes a minute's window, wait or age a second")
    options = parser.parse_args(arguments)
    streams = boto3.client("dynamodbstreams", endpoint_url=options.dynamodb_url, config=Config(max_pool_connections=50))
    around = Surroundings(
        stream=lambda arn: Stream(streams, arn),
        functions=Functions(options.functions_url),
        destinations=Destinations(options.aws_endpoint),
        metrics=Metrics(options.aws_endpoint),
        checkpoints=Checkpoints(options.state),
        orders=Orders(),
        pace=Pace(speed=options.speed),
        region=os.environ["AWS_REGION"],
    )
    pollers = Pollers(Mappings(options.aws_endpoint), around)
    pollers.start()
    serve(application(pollers), options.port)


if __name__ == "__main__":
    main()
