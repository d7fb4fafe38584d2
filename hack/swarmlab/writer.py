"""Runs inside a container: increments a counter in Redis for ever and notes each acknowledged value."""

import contextlib
import os
import socket
import sys
import time

PAUSE_S = 0.002
LIMIT_S = 0.5


def increment(connection: socket.socket, command: bytes) -> int:
    """Sends one INCR; returns its answer. Raises OSError or ValueError."""
    connection.sendall(command)
    answer = b""
    while not answer.endswith(b"\r\n"):
        chunk = connection.recv(64)
        if not chunk:
            raise ConnectionResetError
        answer += chunk
    if not answer.startswith(b":"):
        raise ValueError(answer)
    return int(answer[1:])


def main(host: str, key: str, log: str) -> None:
    """Goes on for ever; a connection that is silent for half a second is given up."""
    command = b"*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n" % (len(key), key.encode())
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    while True:
        with contextlib.suppress(OSError, ValueError), socket.create_connection((host, 6379), LIMIT_S) as connection:
            while True:
                value = increment(connection, command)
                os.write(out, b"%.6f %d\n" % (time.time(), value))
                time.sleep(PAUSE_S)
        time.sleep(0.02)


main(*sys.argv[1:])
