"""The `swarmkeep` command: the daemons and the verbs behind one name."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command and exits with its code."""
    from swarmkeep.cli.app import run_app

    sys.exit(run_app(sys.argv[1:]))


if __name__ == "__main__":
    main()
