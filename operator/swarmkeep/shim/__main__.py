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
    except Exception as error:
        if "create" in words:
            # The front script hands over only a create that may be of a protected container.
            return refuse(words, error)
        print(f"swarmkeep-runtime: {error!r}, going on with {runc}", file=sys.stderr)
    else:
        try:
            code = handle(words)
        except Exception as error:
            # Docker must never be worse off with the shim than without it.
            print(f"swarmkeep-runtime: {error!r}, going on with {runc}", file=sys.stderr)
    if code is None:
        os.execv(runc, [runc, *words])  # noqa: S606 - the very purpose
    return code


def refuse(words: list[str], error: Exception) -> int:
    """Says why where Docker looks, as the front script does when this half is missing altogether."""
    import json

    text = f"swarmkeep-runtime: this container is protected, but the installation of SwarmKeep is damaged: {error!r}"
    print(text, file=sys.stderr)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        path = following if word == "--log" else word[6:] if word.startswith("--log=") else ""
        if path:
            with open(path, "a", encoding="utf-8") as log:
                log.write(json.dumps({"level": "error", "msg": text}) + "\n")
            break
    return 1


if __name__ == "__main__":
    sys.exit(main())
