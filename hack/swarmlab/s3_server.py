#!/usr/bin/env python3
"""A real S3 server in one folder: Ceph with one monitor, one OSD that keeps everything in memory, and radosgw.

    s3_server.py FOLDER ADDRESS PORT ACCESS_KEY SECRET_KEY BUCKET...

Prints `ready` when the buckets are there; runs until it is told to stop, or until a part of it ends. Whatever it kept
is gone then. A program of its own, standard library only: tests run it on the machine, the lab on a node.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

START_S = 90

CONFIG = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
run dir = {folder}
admin socket = {folder}/$name.$pid.asok
log file = {folder}/$name.log
osd objectstore = memstore
memstore device bytes = 8G
osd pool default size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
paxos propose interval = 0.05
rgw frontends = beast endpoint={address}:{port} tcp_nodelay=1
"""


class Server:
    """The processes, and what they have to be told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, address: str, port: int, access_key: str, secret_key: str, buckets: list[str]) -> None:
        """Returns when it serves."""
        folder = self._folder
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "mon").mkdir(parents=True)
        (folder / "osd").mkdir()
        fsid, mon_port = str(uuid.uuid4()), _free_port()
        config = CONFIG.format(fsid=fsid, mon_port=mon_port, folder=folder, address=address, port=port)
        (folder / "ceph.conf").write_text(config)
        caps = {
            "mon.": ["--cap", "mon", "allow *"],
            "client.admin": ["--cap", "mon", "allow *", "--cap", "osd", "allow *"],
            "osd.0": ["--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"],
        }
        for number, (name, words) in enumerate(caps.items()):
            create = ["--create-keyring"] if number == 0 else []
            self._run("ceph-authtool", *create, str(folder / "keyring"), "--gen-key", "--name", name, *words)
        monmap = str(folder / "monmap")
        self._run("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "--fsid", fsid, monmap)
        self._run(
            "ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", str(folder / "keyring"), *self._conf
        )
        self._launch("ceph-mon", "-i", "a")
        self._run("ceph", "auth", "import", "-i", str(folder / "keyring"), *self._conf)
        osd = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd, *self._conf)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, *self._conf)
        self._launch("ceph-osd", "-i", "0")
        user = ["--uid", "lab", "--display-name", "lab", "--access-key", access_key, "--secret", secret_key]
        self._run("radosgw-admin", "user", "create", *user, *self._conf)
        self._launch("radosgw", "-n", "client.admin")
        host = f"{address}:{port}"
        self._wait_for(host)
        for bucket in buckets:
            headers = sign("PUT", host, f"/{bucket}", b"", access_key, secret_key)
            status, text = _request(host, "PUT", f"/{bucket}", headers)
            if status != 200:
                raise SystemExit(f"cannot make bucket {bucket}: {status} {text}")

    def wait(self) -> None:
        """Returns when any part has ended."""
        while all(process.poll() is None for process in self._processes):
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends all parts at once."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _conf(self) -> list[str]:
        return ["-c", str(self._folder / "ceph.conf")]

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")

    def _launch(self, *command: str) -> None:
        with (self._folder / f"{command[0]}.out").open("wb") as log:
            self._processes.append(
                subprocess.Popen([*command, "-f", *self._conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )

    def _wait_for(self, host: str) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and all(process.poll() is None for process in self._processes):
            with contextlib.suppress(OSError):
                _request(host, "GET", "/", {})
                return
            time.sleep(0.1)
        logs = "\n".join(path.read_text("utf-8", "replace")[-2000:] for path in self._folder.glob("*.out"))
        raise SystemExit(f"the S3 server does not come up:\n{logs}")


def sign(method: str, host: str, path: str, body: bytes, access_key: str, secret_key: str) -> dict[str, str]:
    """The headers of a signed request without a query (AWS Signature Version 4)."""
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{at[:8]}/us-east-1/s3/aws4_request"
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": at}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = hashlib.sha256(f"{method}\n{path}\n\n{lines}\n{names}\n{digest}".encode()).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{request}".encode(), "sha256").hex()
    credential = f"Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers | {"authorization": f"AWS4-HMAC-SHA256 {credential}"}


def _request(host: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, timeout=START_S)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: list[str]) -> int:
    """Runs the server until SIGTERM; returns 1 when it ended by itself."""
    folder, address, port, access_key, secret_key, *buckets = arguments
    server = Server(Path(folder).absolute())
    # Debian's ceph-osd looks for its classes below a relative path; without them radosgw cannot work.
    os.chdir("/")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.start(address, int(port), access_key, secret_key, buckets)
        print("ready", flush=True)
        server.wait()
        return 1
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
