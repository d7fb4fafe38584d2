"""`swarmkeep agent`: puts the parts together and runs them until told to stop."""

from __future__ import annotations

import asyncio
import signal
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from swarmkeep.agent.assignments import Assignments
from swarmkeep.agent.bases import Bases
from swarmkeep.agent.cache_sweeper import CacheSweeper
from swarmkeep.agent.catalogue import Catalogue
from swarmkeep.agent.claims import Claims
from swarmkeep.agent.copier import Copier
from swarmkeep.agent.copies import Copies
from swarmkeep.agent.copy_reports import CopyReports
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.departures import Departures
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.endings import Endings
from swarmkeep.agent.fencer import Fencer
from swarmkeep.agent.freezes import Freezes
from swarmkeep.agent.heartbeat import Heartbeat
from swarmkeep.agent.hooks import Hooks
from swarmkeep.agent.host_report import HostReport
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.importer import Importer
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.mender import Mender
from swarmkeep.agent.node_report import NodeReport
from swarmkeep.agent.observer import Observer
from swarmkeep.agent.placements import Placements
from swarmkeep.agent.plain_containers import PlainContainers
from swarmkeep.agent.postmortem import Postmortem
from swarmkeep.agent.records import Records
from swarmkeep.agent.revivals import Revivals
from swarmkeep.agent.rewrapper import Rewrapper
from swarmkeep.agent.runtime.cold_starts import ColdStarts
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.runtime.dump import Dumper
from swarmkeep.agent.runtime.features import read_features
from swarmkeep.agent.runtime.freezer import Freezer
from swarmkeep.agent.runtime.hook import HookRunner
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.agent.runtime.traits import TraitsReader
from swarmkeep.agent.scheduler import Scheduler
from swarmkeep.agent.selectors_file import SelectorsFile
from swarmkeep.agent.shim_server import ShimServer
from swarmkeep.agent.stale_copies import StaleCopies
from swarmkeep.agent.standby import Standby
from swarmkeep.agent.starts import Starts
from swarmkeep.agent.stops import Stops
from swarmkeep.agent.story import Story
from swarmkeep.agent.sweeper import Sweeper
from swarmkeep.agent.tracked import TrackedContainers
from swarmkeep.agent.trials import Trials
from swarmkeep.agent.tryouts import DumpTryouts, StoredTryouts
from swarmkeep.agent.unseen_starts import UnseenStarts
from swarmkeep.agent.verifier import Verifier
from swarmkeep.agent.versions import VersionTaker
from swarmkeep.agent.volume_switch import VolumeSwitch
from swarmkeep.agent.volumes import Volumes
from swarmkeep.config import Config
from swarmkeep.kube.connect import client_from_settings
from swarmkeep.kube.events import EventRecorder
from swarmkeep.model.ident import Ref
from swarmkeep.obs import agent_metrics
from swarmkeep.obs.exposition import serve_metrics
from swarmkeep.obs.logs import configure_logging

log = structlog.get_logger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def run(config: Config) -> int:
    """Runs the agent; returns its exit code: 0 when it was told to stop."""
    configure_logging("agent")
    settings = config.agent
    serve_metrics(settings.metrics_listen.host, settings.metrics_listen.port, agent_metrics.REGISTRY)
    return asyncio.run(_run(config))


async def _run(config: Config) -> int:
    settings, node = config.agent, config.node
    for folder in (settings.state_dir, settings.run_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    boot_id = _boot_id(settings.run_dir)

    client = client_from_settings(config.api, settings.certificate, settings.key, field_manager="swarmkeep-agent")
    # A renewal that hangs must not use up the time that the next one has.
    lease_client = client_from_settings(
        replace(config.api, timeout=settings.renew_interval),
        settings.certificate,
        settings.key,
        field_manager="swarmkeep-agent",
    )
    containers = Containers(settings.docker, settings.docker_root)
    freezer = Freezer(settings.run_dir)
    freezes = Freezes(freezer)
    tracked = TrackedContainers(Journal(settings.state_dir / "containers"))
    tracked.settle_earlier_boots(boot_id, datetime.now(UTC))
    await freezer.thaw_leftovers(keep={item.container_id for item in tracked if item.phase == "Fenced"})
    features = await read_features(settings.runc, containers)
    restores = Restores(settings.run_dir / "restore")
    cache = ImageCache(settings.images, boot_id, settings.cache_bytes, lambda: _being_read(tracked, restores))

    locations = Locations()
    bases = Bases(locations, cache)
    selectors = SelectorsFile(settings.state_dir / "shim" / "selectors")
    desired = Desired(client, Journal(settings.state_dir / "desired"), locations, selectors)
    claims = Claims(client, node)
    records = Records(client, Journal(settings.state_dir / "records"))
    story = Story(EventRecorder(client, "swarmkeep-agent", node), claims, node)
    heartbeat = Heartbeat(lease_client, node, settings.lease_duration, settings.renew_interval, settings.run_dir)
    damage = KnownDamage(client)
    catalogue = Catalogue(client, locations, damage)
    copier = Copier(
        desired,
        locations,
        tracked,
        Journal(settings.state_dir / "replicated"),
        Copies(locations, Journal(settings.state_dir / "copies"), settings.state_dir / "copying", cache),
        CopyReports(client, node),
    )
    volumes = Volumes(
        containers,
        VolumeSwitch(Journal(settings.state_dir / "volumes")),
        (settings.state_dir, settings.run_dir, settings.staging, settings.images, settings.docker_root),
    )
    hooks = Hooks(HookRunner(settings.runc, settings.runc_root), tracked)
    versions = VersionTaker(
        node,
        features.host,
        settings.staging,
        containers,
        freezes,
        Dumper(settings.runc, settings.runc_root, freezer, restores),
        locations,
        tracked,
        records,
        damage,
        copier,
        cache,
        volumes,
        hooks,
    )
    stale = StaleCopies(node, containers, claims, story, Journal(settings.state_dir / "past"))
    postmortem = Postmortem(desired, restores, tracked)
    starts = Starts(
        node,
        boot_id,
        settings.run_dir,
        settings.docker_root,
        cache,
        bases,
        containers,
        desired,
        claims,
        catalogue,
        damage,
        locations,
        tracked,
        heartbeat,
        settings.fence_after,
        story,
        volumes,
        postmortem,
        stale,
        lazy_pages=features.lazy_pages,
    )
    stops = Stops(containers, desired, claims, freezes, versions, tracked, story)
    fencer = Fencer(node, settings.fence_after, heartbeat, claims, containers, freezes, desired, tracked, story)
    unseen = UnseenStarts(
        node, ColdStarts(settings.state_dir / "shim" / "cold-starts"), containers, desired, tracked, story
    )
    observer = Observer(
        node,
        boot_id,
        client,
        containers,
        desired,
        claims,
        freezes,
        fencer,
        unseen,
        postmortem,
        stale,
        tracked,
        TraitsReader(),
    )
    trials = Trials(settings.state_dir / "trials", settings.run_dir, settings.docker_root, containers)
    scheduler = Scheduler(desired, freezes, restores, tracked, versions, DumpTryouts(node, versions, trials, records))
    endings = Endings(node, client, containers, desired, claims, stops, tracked, story, scheduler.is_taking)
    assignments = Assignments(node, client, desired, locations, scheduler, tracked, cache)
    standby = Standby(node, client, desired, locations, cache, bases, containers, damage)
    mender = Mender(client, locations, Journal(settings.state_dir / "mended"), settings.state_dir / "mending")
    host = HostReport(client, containers, {"staging": settings.staging, "state": settings.state_dir})
    plain = PlainContainers(containers, desired)
    placements = Placements(node, client, claims, containers, desired, locations, catalogue, story, tracked, postmortem)
    report = NodeReport(node, client, features, host, locations, tracked, standby, plain, placements)
    server = ShimServer(
        settings.run_dir / "shim.sock", {"create": trials.before(starts.converse), "kill": stops.converse}
    )

    finals = stops.resume(boot_id)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    log.info("agent starts", node=node, kernel=features.kernel, criu=features.criu_version)
    agent_metrics.REGISTRY.register(agent_metrics.newest_versions(tracked.newest_versions))
    agent_metrics.REGISTRY.register(agent_metrics.replicas(tracked.replica_times))
    agent_metrics.REGISTRY.register(agent_metrics.under_other_keys(locations.under_other_keys))
    try:
        async with server.listening(), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(part)
                for part in (
                    heartbeat.run(),
                    desired.run(),
                    records.run(),
                    story.run(),
                    fencer.run(),
                    observer.run(),
                    scheduler.run(),
                    assignments.run(),
                    endings.run(),
                    report.run(),
                    copier.run(),
                    placements.run(),
                    stale.run(),
                    Revivals(containers, desired, tracked).run(),
                    standby.run(),
                    Departures(node, client, containers, tracked).run(),
                    Sweeper(locations).run(),
                    Rewrapper(locations).run(),
                    damage.run(),
                    Importer(node, client, desired, locations).run(),
                    mender.run(),
                    trials.run(),
                    Verifier(
                        node,
                        client,
                        locations,
                        mender,
                        StoredTryouts(locations, trials),
                        settings.scrub_rate,
                        settings.verify_limit,
                    ).run(),
                    CacheSweeper(cache, locations).run(),
                )
            ]
            for staged in finals:
                tasks.append(group.create_task(stops.store_final(staged)))
            await stopped.wait()
            for task in tasks:
                task.cancel()
    finally:
        await client.close()
        await lease_client.close()
    log.info("agent stopped")
    return 0


def _being_read(tracked: TrackedContainers, restores: Restores) -> frozenset[tuple[Ref, int]]:
    """Versions from whose images restored processes of this node still read their memory."""
    return frozenset(
        (item.ref, item.start["version"])
        for item in tracked
        if item.start and item.start.get("version") and restores.still_reading(item.container_id)
    )


def _boot_id(run_dir: Path) -> str:
    """Identifies this boot of the node: the kernel's own id and a mark in the run folder, which a reboot empties.

    Nodes that share one kernel, as in the lab, reboot without a new kernel id.
    """
    mark = run_dir / "boot-id"
    try:
        return mark.read_text()
    except FileNotFoundError:
        value = f"{BOOT_ID.read_text().strip()}-{uuid.uuid4().hex[:8]}"
        mark.write_text(value)
        return value
