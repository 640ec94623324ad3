"""Run the simulator: ``python -m local.simulators.functions --aws-endpoint URL``."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path

from local.simulators.functions.api import Functions
from local.simulators.functions.relay import PORT, relayed
from local.simulators.http import serve


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.simulators.functions", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--aws-endpoint", required=True, help="where the functions' settings and the queues are")
    parser.add_argument("--speed", type=float, default=1.0, help="60 makes a minute between two attempts a second")
    parser.add_argument("--node", help=f"a node on another machine, which functions then reach as http://127.0.0.1:{PORT}")
    options = parser.parse_args(arguments)
    node = relayed(options.node) if options.node else nullcontext()
    with node, tempfile.TemporaryDirectory(prefix="searchops-functions-") as directory:
        functions = Functions(options.aws_endpoint, Path(directory), options.speed)
        serve(functions.application(), options.port)
        functions.close()


if __name__ == "__main__":
    main()
