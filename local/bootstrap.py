"""Set up `.venv` and the engines: run by `make` with the system's Python.

Every Python has to be able to read this file, to be told which one is needed: no annotations, no f-strings.
"""

import os
import sys

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)

if __name__ == "__main__":
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        sys.exit(
            "error: Python 3.11, 3.12 or 3.13 is needed, " + sys.executable + " is " + sys.version.split()[0] + ": "
            "install one (Debian 12: apt-get install python3.11 python3.11-venv) and run `make PYTHON=python3.11 ...`"
        )
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from local.environment import main

    sys.exit(main())
