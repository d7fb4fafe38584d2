"""`swarmkeep apiserver`: puts the server together, runs it until it is told to stop, and stops it within seconds."""

from __future__ import annotations

import asyncio
import signal
import ssl
from contextlib import AsyncExitStack, suppress

import structlog
from aiohttp import web

from swarmkeep.apiserver.app import make_app
from swarmkeep.apiserver.compaction import compact
from swarmkeep.apiserver.crds import publish
from swarmkeep.apiserver.drain import drain_namespaces
from swarmkeep.apiserver.namespaces import ensure_permanent
from swarmkeep.apiserver.resources import crd_documents, load_registry
from swarmkeep.apiserver.services import Services, make_services
from swarmkeep.config import Config
from swarmkeep.config.settings import ApiServerSettings, EtcdSettings
from swarmkeep.errors import HostError, SwarmKeepError, Unavailable
from swarmkeep.etcd.client import Client
from swarmkeep.etcd.endpoints import TlsFiles
from swarmkeep.obs import apiserver_metrics as metrics
from swarmkeep.obs.exposition import serve_metrics
from swarmkeep.obs.logs import configure_logging

log = structlog.get_logger(__name__)

SHUTDOWN_S = 3.0
"""For requests that are under way; watches end at once."""
_RETRY_S = 1.0
_BACKLOG = 1024


def run(config: Config) -> int:
    """Serves until SIGTERM or SIGINT; the process's exit code."""
    configure_logging("apiserver")
    try:
        return asyncio.run(_serve(config))
    except SwarmKeepError as error:
        log.error("the API server cannot run", error=str(error))
        return error.exit_code


def server_tls(settings: ApiServerSettings) -> ssl.SSLContext:
    """TLS that lets nobody in without a certificate of our CA. Raises HostError naming the file that is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # HTTP/1.1 only: without this some clients would try HTTP/2.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=str(settings.client_ca))
    except (OSError, ssl.SSLError) as error:
        raise HostError(f"cannot use {settings.client_ca} (apiserver.clientCA): {error}") from error
    try:
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    except (OSError, ssl.SSLError, ValueError) as error:
        message = f"cannot use {settings.certificate} and {settings.key} (apiserver.certificate and key): {error}"
        raise HostError(message) from error
    return context


def etcd_client(settings: EtcdSettings) -> Client:
    """The client that the settings describe."""
    tls = None
    if settings.ca and settings.certificate and settings.key:
        tls = TlsFiles(settings.ca, settings.certificate, settings.key)
    return Client(settings.endpoints, tls, settings.timeout.total_seconds())


async def _serve(config: Config) -> int:
    settings = config.apiserver
    documents = crd_documents()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        etcd = etcd_client(config.etcd)
        stack.push_async_callback(etcd.close)
        services = make_services(etcd, load_registry(documents))
        metrics.HISTORY_BYTES.set_function(lambda: services.history.bytes)
        metrics.FOLLOWS_ETCD.set_function(lambda: services.hub.ready.is_set())
        _serve_metrics(settings)
        runner = web.AppRunner(make_app(services), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(
            runner, settings.listen.host, settings.listen.port, ssl_context=server_tls(settings), backlog=_BACKLOG
        )
        try:
            await site.start()
        except OSError as error:
            raise HostError(
                f"cannot listen on {settings.listen.host}:{settings.listen.port} (apiserver.listen): {error.strerror}"
            ) from error
        log.info("serves the API", host=settings.listen.host, port=settings.listen.port)
        tasks = [
            asyncio.create_task(services.hub.run(), name="hub"),
            asyncio.create_task(_prepare(services, documents), name="prepare"),
            asyncio.create_task(drain_namespaces(services), name="drain"),
            asyncio.create_task(compact(etcd), name="compaction"),
        ]
        stack.push_async_callback(_cancel, tasks)
        return await _until_stopped(stop, tasks, services)


async def _until_stopped(stop: asyncio.Event, tasks: list[asyncio.Task[None]], services: Services) -> int:
    """Waits for the signal; a task that ends by itself ends the server, since it would only pretend to work."""
    stopping = asyncio.create_task(stop.wait())
    pending: set[asyncio.Task[object]] = {stopping, *(task for task in tasks)}
    try:
        while not stopping.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                if task.exception() is not None:
                    log.error("a part of the API server failed", part=task.get_name(), exc_info=task.exception())
                    return 1
        log.info("stopping")
        return 0
    finally:
        stopping.cancel()
        services.history.close()


async def _prepare(services: Services, documents: list[dict[str, object]]) -> None:
    """Makes what has to be there, as soon as etcd can be written to."""
    reported = False
    while True:
        try:
            await ensure_permanent(services.etcd)
            await publish(services.etcd, documents)
            return
        except Unavailable as error:
            if not reported:
                log.warning("waiting for etcd", error=str(error))
            reported = True
        except SwarmKeepError as error:
            log.error("cannot prepare etcd", error=str(error))
        await asyncio.sleep(_RETRY_S)


def _serve_metrics(settings: ApiServerSettings) -> None:
    address = settings.metrics_listen
    try:
        serve_metrics(address.host, address.port, metrics.REGISTRY)
    except OSError as error:
        raise HostError(
            f"cannot listen on {address.host}:{address.port} (apiserver.metricsListen): {error.strerror}"
        ) from error


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
