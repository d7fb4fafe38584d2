"""The operator's metrics; docs/metrics.md explains each."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from swarmkeep.obs.live_gauge import LiveGauge, Samples

REGISTRY = CollectorRegistry()

LEADER = Gauge("swarmkeep_operator_leader", "1 while this operator leads, else 0.", registry=REGISTRY)
QUEUE_DEPTH = Gauge("swarmkeep_operator_queue_depth", "Objects that wait to be looked at now.", registry=REGISTRY)
QUEUE_OLDEST_SECONDS = Gauge(
    "swarmkeep_operator_queue_oldest_seconds",
    "How long the object at the front of the queue has waited: above some seconds the operator does not keep up.",
    registry=REGISTRY,
)
QUEUE_SCHEDULED = Gauge(
    "swarmkeep_operator_queue_scheduled", "Objects that will be looked at again at a known time.", registry=REGISTRY
)
CYCLES = Counter(
    "swarmkeep_operator_reconciles_total",
    "Looks at an object, by kind and outcome: idle, changed, conflict, failed.",
    ["kind", "outcome"],
    registry=REGISTRY,
)
CYCLE_SECONDS = Histogram(
    "swarmkeep_operator_reconcile_seconds",
    "Time of one look at an object, writes included.",
    ["kind"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
OBJECTS = Gauge("swarmkeep_operator_objects", "Objects known, by kind.", ["kind"], registry=REGISTRY)
GHOSTS = Counter(
    "swarmkeep_operator_ghosts_total",
    "Deleted objects that only a relist found, by kind.",
    ["kind"],
    registry=REGISTRY,
)
ASSIGNMENTS = Counter(
    "swarmkeep_operator_assignments_total",
    "Versions given to a node, by phase (Pending: to take, Deleting: to remove) and why.",
    ["phase", "why"],
    registry=REGISTRY,
)
STARTS = Counter(
    "swarmkeep_operator_starts_seen_total",
    "Starts of protected tasks that agents have reported, by how (Restored, Fresh) and reason.",
    ["how", "reason"],
    registry=REGISTRY,
)
MIGRATIONS = Counter(
    "swarmkeep_operator_migrations_total",
    "Migrations that ended, by mode and result (Done, Failed). Dry runs do not count.",
    ["mode", "result"],
    registry=REGISTRY,
)
MIGRATION_DOWNTIME_SECONDS = Histogram(
    "swarmkeep_operator_migration_downtime_seconds",
    "How long a workload stood still that was moved, by the agents' clocks.",
    ["mode"],
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
    registry=REGISTRY,
)
NODES_LOST = Counter("swarmkeep_operator_nodes_lost_total", "Nodes whose lease ran out.", registry=REGISTRY)
SWARM_LOOKS = Counter(
    "swarmkeep_operator_swarm_looks_total", "Looks at the Swarm, by result.", ["result"], registry=REGISTRY
)

_WORKLOAD = ("namespace", "workload")


def version_ages(samples: Samples) -> LiveGauge:
    """Age in seconds of the newest version of each workload."""
    meaning = "Age of the newest version of a workload: the achieved recovery point."
    return LiveGauge("swarmkeep_workload_version_age_seconds", meaning, _WORKLOAD, samples)


def damaged_versions(samples: Samples) -> LiveGauge:
    """How many versions of a workload were found damaged."""
    meaning = "Versions of a workload that were found damaged in storage; workloads without any have no sample."
    return LiveGauge("swarmkeep_damaged_versions", meaning, _WORKLOAD, samples)
