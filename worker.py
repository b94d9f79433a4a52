"""Runs the governance worker: ``python worker.py``, the same as ``headgate worker``.

Takes Temporal's standard client environment (``TEMPORAL_ADDRESS`` and the rest) and
``HEADGATE_DATABASE_URL``.
"""

import sys

from headgate.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["worker"]
    main()
