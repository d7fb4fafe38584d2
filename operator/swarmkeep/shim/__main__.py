"""Started by swarmkeep-runtime as `python3 -I -S __main__.py RUNC ARGUMENT...`, standard library only."""

import os
import sys


def main() -> int:
    """Handles the call, or becomes runc."""
    runc, words = sys.argv[1], sys.argv[2:]
    code = None
    try:
        # Behind the standard library, so that nothing installed beside SwarmKeep can stand in for a part of it.
        sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        from swarmkeep.shim.entry import handle

        code = handle(words)
    except Exception as error:
        # Docker must never be worse off with the shim than without it.
        print(f"swarmkeep-runtime: {error!r}, going on with {runc}", file=sys.stderr)
    if code is None:
        os.execv(runc, [runc, *words])  # noqa: S606 - the very purpose
    return code


if __name__ == "__main__":
    sys.exit(main())
