"""Processes that start in milliseconds and share no state: forked from one that has imported what they need."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

_preloaded: list[str] = []


def forked(*modules: str) -> ForkServerContext:
    """A context whose processes find the modules imported; to be asked for at the top of a module.

    There is one fork server for all tests of a process, and it knows one list: whoever sets it drops the modules of the others.
    """
    _preloaded.extend(modules)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_preloaded)
    return context
