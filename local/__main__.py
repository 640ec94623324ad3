"""`python -m local up|status|down`: the local cloud left running between commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from local.cloud import ROOT, SERVICES, Cloud, CloudError, State, stop_cloud
from local.interrupts import EXIT_INTERRUPTED, stop_at_the_first_interrupt

DEFAULT_DIRECTORY = ROOT / "build" / "local"


def up(arguments: argparse.Namespace) -> int:
    """Start the local cloud with the demo's domains, dictionaries, documents, functions and table, and leave it running."""
    stop_at_the_first_interrupt()
    state = State.read(arguments.directory)
    if state is not None and state.supervisor() is not None:
        print("It is up already.")
    elif arguments.services:
        Cloud(arguments.directory, services=arguments.services).start(detached=True)
    else:
        _start_demo(arguments.directory)
    _describe(arguments.directory, Cloud(arguments.directory).state)
    return 0


def _start_demo(directory: Path) -> None:
    # Only `up` needs the demo's company, and with it clients that `status` and `down` can do without.
    from local.demo.world import World, demo_cloud

    print("Starting the local cloud and loading the demo's documents; it takes about a minute.", flush=True)
    cloud = demo_cloud(directory)
    cloud.start(detached=True)
    try:
        World(cloud).furnish()
    except BaseException:
        cloud.stop()
        raise


def status(arguments: argparse.Namespace) -> int:
    """Print one line a process; exit code 1 when nothing runs or a process has ended."""
    state = State.read(arguments.directory)
    if state is None or state.supervisor() is None:
        print(f"nothing runs in {_short(arguments.directory)}")
        return 1
    print(f"{'supervisor':<24}{state.pid:>8}  {state.status}")
    for process in state.processes:
        condition = "running" if process.exit_code is None else f"ended with exit code {process.exit_code}: see {process.log}"
        restarted = f", restarted {process.restarts} times" if process.restarts else ""
        print(f"{process.name:<24}{process.pid:>8}  {condition}{restarted}")
    return 1 if any(process.exit_code is not None for process in state.processes) else 0


def down(arguments: argparse.Namespace) -> int:
    """Stop everything that `up` started."""
    print("stopped" if stop_cloud(arguments.directory) else "nothing runs")
    return 0


def _describe(directory: Path, state: State) -> None:
    for name, url in state.endpoints.items():
        print(f"  {name:<12}{url}")
    if state.password:
        print(f"Airflow UI: {state.endpoints['airflow']}  user: {state.user}  password: {state.password}")
    print(f"Environment of a client: source {_short(directory)}/environment\nLogs: {_short(directory)}/logs")
    own = "" if directory == DEFAULT_DIRECTORY else f"--directory {_short(directory)} "
    print(f"Stop it: {f'python -m local {own}down' if own else 'make down'}")


def _short(path: Path) -> str:
    return os.path.relpath(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY, help="where state, logs and data go")
    commands = parser.add_subparsers(required=True)
    for command in (up, status, down):
        sub = commands.add_parser(command.__name__, help=command.__doc__)
        sub.set_defaults(command=command)
        if command is up:
            sub.add_argument("--services", nargs="+", choices=SERVICES, help="only these, and none of the demo's data")
    return parser.parse_args()


def main() -> int:
    arguments = _options()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except CloudError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
