"""Runs inside a container: a server with one of everything a process can have: it tells whether all of it works."""

import ctypes
import fcntl
import json
import mmap
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import shared_memory
from typing import Any

STARTED = uuid.uuid4().hex
THREADS = 8
counts = dict.fromkeys(("next", "threads", "timers", "itimer", "timerfd"), 0)
lock = threading.Lock()
libc = ctypes.CDLL(None, use_errno=True)

log = open("/srv/log", "a+", buffering=1)  # noqa: SIM115 - open as long as the process
fcntl.flock(log, fcntl.LOCK_EX)
deleted = tempfile.TemporaryFile()  # noqa: SIM115
deleted.write(STARTED.encode())
deleted.flush()
pages = mmap.mmap(-1, 4096)  # shared with children
segment: Any = shared_memory.SharedMemory(create=True, size=64)
segment.buf[: len(STARTED)] = STARTED.encode()
near, far = socket.socketpair()
events = os.eventfd(0)
newer: Any = os  # checked with Python 3.11, run with a newer one
beat = newer.timerfd_create(1, flags=newer.TFD_NONBLOCK)
newer.timerfd_settime(beat, initial=0.1)
watch = libc.inotify_init1(os.O_NONBLOCK)
libc.inotify_add_watch(watch, b"/srv", 0x100)  # IN_CREATE
zombie = subprocess.Popen(["true"])


def count(name: str) -> None:
    with lock:
        counts[name] += 1


def every(seconds: float, name: str) -> None:
    """A thread that waits on a condition which nobody ever notifies."""
    condition = threading.Condition()
    while True:
        with condition:
            condition.wait(seconds)
        count(name)


def again() -> None:
    """A chain of timers, each a thread of its own."""
    count("timers")
    timer = threading.Timer(0.1, again)
    timer.daemon = True
    timer.start()


def echo() -> None:
    """Waits with epoll for a socket and a timer."""
    poll = select.epoll()
    for descriptor in (far.fileno(), beat):
        poll.register(descriptor, select.EPOLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == beat:
                os.read(beat, 8)
                newer.timerfd_settime(beat, initial=0.1)
                count("timerfd")
            else:
                far.send(far.recv(100)[::-1])


def child(pipe: Any) -> None:
    """A process that answers over a pipe and counts in shared memory."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    while True:
        word = pipe.recv()
        pages[0] = (pages[0] + 1) % 256
        pipe.send(word.upper())


def state() -> dict[str, Any]:
    """Tries everything; whatever fails raises."""
    with lock:
        shared = pages[0]
        ours.send("ping")
        answer = ours.recv() if ours.poll(2) else ""
        near.send(b"abc")
        echoed = near.recv(100).decode()
        os.eventfd_write(events, 7)
        os.close(os.open(f"/srv/{uuid.uuid4().hex}", os.O_CREAT))
        log.write(f"{counts['next']}\n")
        log.seek(0)
        deleted.seek(0)
        return counts | {
            "started": STARTED,
            "child": answer,
            "shared": (pages[0] - shared) % 256,
            "echo": echoed,
            "eventfd": os.eventfd_read(events),
            "inotify": len(os.read(watch, 4096)) > 0,
            "lines": len(log.readlines()),
            "deleted": deleted.read().decode(),
            "segment": bytes(segment.buf[: len(STARTED)]).decode(),
            "zombie": open(f"/proc/{zombie.pid}/stat").read().split()[2],
            "alive": sum(thread.name.startswith("every") for thread in threading.enumerate()),
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/next":
            count("next")
            body = str(counts["next"]).encode()
        else:
            body = json.dumps(state()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


ours, theirs = multiprocessing.Pipe()
multiprocessing.get_context("fork").Process(target=child, args=(theirs,), daemon=True).start()
for number in range(THREADS):
    threading.Thread(target=every, args=(0.05, "threads"), name=f"every-{number}", daemon=True).start()
threading.Thread(target=echo, daemon=True).start()
again()
signal.signal(signal.SIGALRM, lambda *_: counts.update(itimer=counts["itimer"] + 1))
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
ThreadingHTTPServer(("", 8000), Handler).serve_forever()
