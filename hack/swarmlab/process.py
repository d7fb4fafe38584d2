"""Running programs with a limit in time, and errors that show what the program said."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO


class LabError(Exception):
    """The lab could not do what it was asked; the text says what, and what to look at."""


def say(message: str) -> None:
    """Tells the user what takes long now."""
    print(f"lab: {message}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    limit_s: float = 60,
    check: bool = True,
    input: bytes | None = None,
    stdin: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, fed from `input` or `stdin`.

    Raises LabError when it fails (unless `check` is off) or takes longer than `limit_s`.
    """
    words = [str(word) for word in command]
    try:
        if input is not None:
            done = subprocess.run(words, input=input, capture_output=True, timeout=limit_s, check=False)
        else:
            source = stdin or subprocess.DEVNULL
            done = subprocess.run(words, stdin=source, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"{_shown(words)} did not end within {limit_s:g} s") from None
    except FileNotFoundError:
        raise LabError(f"{words[0]} is not installed; hack/test and hack/demo install what the lab needs") from None
    result = subprocess.CompletedProcess(
        words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    if check and result.returncode != 0:
        raise LabError(f"{_shown(words)} ended with {result.returncode}:\n{(result.stderr or result.stdout).strip()}")
    return result


def wait_until(what: str, ready: Callable[[], object], *, limit_s: float, every_s: float = 0.2) -> None:
    """Returns when `ready` answers something true, which may raise LabError. Raises LabError after `limit_s`."""
    deadline = time.monotonic() + limit_s
    last = ""
    while True:
        try:
            if ready():
                return
        except LabError as error:
            last = f"; last: {error}"
        if time.monotonic() > deadline:
            raise LabError(f"waited {limit_s:g} s for {what}{last}")
        time.sleep(every_s)


def _shown(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) <= 200 else text[:200] + " ..."
