"""Runs inside a node: pings a Redis without pause, and at every line on standard input tells the longest silence.

The silence is the time, in seconds, between two answers since the line before.
"""

import select
import socket
import sys
import time

PAUSE_S = 0.001
LIMIT_S = 60.0


def connect(host: str) -> socket.socket:
    """Tries until it succeeds, a minute at most."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            return socket.create_connection((host, 6379), 2.0)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def ping(connection: socket.socket) -> None:
    """One question and its answer. Raises OSError."""
    connection.sendall(b"PING\r\n")
    answer = b""
    while not answer.endswith(b"\r\n"):
        chunk = connection.recv(64)
        if not chunk:
            raise ConnectionResetError
        answer += chunk
    if answer != b"+PONG\r\n":
        raise OSError(answer)


def main(host: str) -> None:
    """Goes on until standard input ends."""
    connection = connect(host)
    connection.settimeout(LIMIT_S)
    ping(connection)
    last, longest = time.monotonic(), 0.0
    print("answered", flush=True)
    while True:
        time.sleep(PAUSE_S)
        try:
            ping(connection)
        except ConnectionError:
            connection = connect(host)
            connection.settimeout(LIMIT_S)
            continue
        now = time.monotonic()
        last, longest = now, max(longest, now - last)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                return
            print(f"{longest:.6f}", flush=True)
            longest = 0.0


if __name__ == "__main__":
    main(sys.argv[1])
