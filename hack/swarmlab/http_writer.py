"""Runs inside a container: asks a server for its next number over a kept-alive connection, and notes each."""

import contextlib
import http.client
import os
import sys
import time

PAUSE_S = 0.01
LIMIT_S = 0.5


def main(host: str, port_and_path: str, log: str) -> None:
    """The answer's body begins with a number. A connection that is silent for half a second is given up."""
    port, _, path = port_and_path.partition("/")
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    while True:
        connection = http.client.HTTPConnection(host, int(port), timeout=LIMIT_S)
        with contextlib.suppress(OSError, ValueError, IndexError, http.client.HTTPException):
            while True:
                connection.request("GET", f"/{path}")
                answer = connection.getresponse()
                value = int(answer.read().split()[0])
                if answer.status == 200:
                    os.write(out, b"%.6f %d\n" % (time.time(), value))
                time.sleep(PAUSE_S)
        connection.close()
        time.sleep(0.05)


main(*sys.argv[1:])
