"""Runs the governance worker: ``python worker.py``, the same as ``headgate worker``.

Takes Temporal's standard client environment (``TEMPORAL_ADDRESS`` and the rest),
``HEADGATE_DATABASE_URL`` and, where it is needed, ``HEADGATE_DATA_CONVERTER``.
"""

import sys

from headgate.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["worker"]
    main()
