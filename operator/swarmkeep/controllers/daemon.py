"""`swarmkeep operator`: waits until it leads, leads, and ends when it leads no more.

A leader that has lost its lease ends the process before the lease can be another's: whoever supervises it starts it
again, as a candidate. Exit codes: 0 told to stop, 1 an own failure, 10 no longer the leader, 11 stepped down so that
another, better placed, can lead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError

import kopf
import structlog

from swarmkeep.config import Config
from swarmkeep.controllers.leader import Ending, Leader
from swarmkeep.controllers.leadership import Leadership
from swarmkeep.controllers.wiring import build_registry, quieten
from swarmkeep.errors import SwarmKeepError, Unavailable
from swarmkeep.etcd.client import Client as EtcdClient
from swarmkeep.etcd.endpoints import TlsFiles
from swarmkeep.etcd.port import Etcd
from swarmkeep.obs import operator_metrics as metrics
from swarmkeep.obs.exposition import serve_metrics
from swarmkeep.obs.logs import configure_logging
from swarmkeep.swarm.docker_swarm import DockerSwarm
from swarmkeep.swarm.port import Swarm

log = structlog.get_logger(__name__)

EXIT_FAILED = 1
EXIT_DEPOSED = 10
EXIT_STEPPED_DOWN = 11

SWARM_PATIENCE_S = 10.0
"""A candidate whose Docker does not show it a Swarm lets others go first for this long."""
STOP_SHARE = 0.1
"""The share of the lease that a deposed leader has for stopping; the election calls a loss 0.2 of it in advance."""
STOP_LIMIT_S = 8.0
"""For stopping on request."""


def run(config: Config) -> int:
    """Runs one candidacy to its end; returns the exit code. Raises InvalidObject, HostError for unusable settings."""
    configure_logging("operator")
    quieten()
    metrics.LEADER.set(0)
    serve_metrics(config.operator.metrics_listen.host, config.operator.metrics_listen.port, metrics.REGISTRY)
    operator = Operator(config, DockerSwarm(config.operator.docker))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: operator.stop())
    code = operator.run()
    log.info("operator ends", code=code)
    # Threads of calls that hang must not keep a process that leads no more.
    os._exit(code)


class Operator:
    """One candidate in one process, or in one thread of a test."""

    def __init__(self, config: Config, swarm: Swarm, *, hard_exit: Callable[[int], None] = os._exit) -> None:
        self._config = config
        self._swarm = swarm
        self._hard_exit = hard_exit
        self._stop_flag = threading.Event()
        self._stopping = threading.Event()
        self._code = 0
        ttl_s = config.operator.election_ttl.total_seconds()
        self._stop_limit_s = ttl_s * STOP_SHARE
        self._leadership = Leadership(self._etcd, f"{config.node}/{os.getpid()}", ttl_s, self._lost)
        self.leader: Leader | None = None
        """While it leads."""

    def stop(self) -> None:
        """Ends it soon; may be called from a signal handler or another thread."""
        self._stopping.set()
        self._stop_flag.set()

    def run(self) -> int:
        """Returns the exit code."""
        self._prefer_others()
        if self._stopping.is_set():
            return 0
        self._leadership.start()
        try:
            token = self._await_election()
            if token is not None:
                self._lead(token)
        except SwarmKeepError as error:
            log.error("the operator cannot run", error=str(error))
            self._code = EXIT_FAILED
        finally:
            self._leadership.resign()
        return self._code

    def _prefer_others(self) -> None:
        """Waits a while for the Swarm: a candidate that cannot see it would only step down again."""
        deadline = time.monotonic() + SWARM_PATIENCE_S
        while not self._stopping.is_set() and time.monotonic() < deadline:
            try:
                asyncio.run(_look(self._swarm))
                return
            except Unavailable as error:
                log.warning("this candidate cannot see the Swarm", error=str(error))
            self._stopping.wait(1.0)

    def _await_election(self) -> int | None:
        while not self._stopping.is_set():
            try:
                return self._leadership.won.result(0.1)
            except TimeoutError:
                continue
            except CancelledError:
                return None
        return None

    def _lead(self, token: int) -> None:
        leader = self.leader = Leader(self._config, self._swarm, token, self._leadership.beat, self._ending)
        gauges = (metrics.version_ages(leader.version_ages), metrics.damaged_versions(leader.damaged_versions))
        for gauge in gauges:
            metrics.REGISTRY.register(gauge)
        # In the main thread kopf would take the signals for itself, and then wait for our stop flag for ever.
        thread = threading.Thread(target=self._run_kopf, args=(leader,), name="kopf", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
        for gauge in gauges:
            metrics.REGISTRY.unregister(gauge)
        metrics.LEADER.set(0)
        self.leader = None
        if not self._stopping.is_set() and self._code == 0:
            log.error("kopf ended by itself")
            self._code = EXIT_FAILED

    def _run_kopf(self, leader: Leader) -> None:
        registry = build_registry(leader.cache, leader.connection, leader.start, leader.stop)
        try:
            asyncio.run(kopf.operator(registry=registry, standalone=True, clusterwide=True, stop_flag=self._stop_flag))
        except Exception:
            log.exception("kopf failed")
            self._code = self._code or EXIT_FAILED

    def _ending(self, ending: Ending) -> None:
        if ending.deposed:
            self._lost(ending.reason)
            return
        log.warning("steps down", reason=ending.reason)
        self._code = self._code or EXIT_STEPPED_DOWN
        self.stop()
        self._exit_after(STOP_LIMIT_S, EXIT_STEPPED_DOWN)

    def _lost(self, reason: str) -> None:
        """Called from any thread. What is still running has no time: the lease may soon be another's."""
        log.error("leads no more, ending", reason=reason)
        self._code = EXIT_DEPOSED
        self._stop_flag.set()
        self._exit_after(self._stop_limit_s, EXIT_DEPOSED)

    def _exit_after(self, seconds: float, code: int) -> None:
        timer = threading.Timer(seconds, self._hard_exit, args=(code,))
        timer.daemon = True
        timer.start()

    def _etcd(self) -> Etcd:
        settings = self._config.etcd
        tls = None
        if settings.ca and settings.certificate and settings.key:
            tls = TlsFiles(settings.ca, settings.certificate, settings.key)
        return EtcdClient(settings.endpoints, tls, settings.timeout.total_seconds())


async def _look(swarm: Swarm) -> None:
    await swarm.nodes()
