"""The agent's metrics; docs/metrics.md explains each."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from swarmkeep.obs.live_gauge import LiveGauge, Samples

REGISTRY = CollectorRegistry()

FROZEN_SECONDS = Histogram(
    "swarmkeep_frozen_seconds",
    "How long a container stood still for a version, as its application feels it.",
    ["reason"],
    buckets=(0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10),
    registry=REGISTRY,
)
VERSIONS = Counter(
    "swarmkeep_versions_total", "Versions taken, by reason and result.", ["reason", "result"], registry=REGISTRY
)
VERSION_BYTES = Counter(
    "swarmkeep_version_bytes_total",
    "Bytes of finished versions: memory and files as dumped, stored as written to storage.",
    ["kind"],
    registry=REGISTRY,
)
RESTORES = Counter(
    "swarmkeep_restores_total", "Restores tried, by reason and result.", ["reason", "result"], registry=REGISTRY
)
RESTORE_SECONDS = Histogram(
    "swarmkeep_restore_seconds",
    "Time from the runtime's question until a restored process went on, waiting for the claim included.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60),
    registry=REGISTRY,
)
COLD_STARTS = Counter(
    "swarmkeep_cold_starts_total", "Protected tasks that started fresh, by reason.", ["reason"], registry=REGISTRY
)
RESTORED_CRASHES = Counter(
    "swarmkeep_restored_crashes_total",
    "Restored processes that crashed before they had run well for five minutes, by how: Crashed, OutOfMemory.",
    ["how"],
    registry=REGISTRY,
)
TRIALS = Counter(
    "swarmkeep_test_restores_total",
    "Versions restored in isolation, by result: Passed, Failed, Unknown (could not be tried as it really would be).",
    ["result"],
    registry=REGISTRY,
)
VERIFICATIONS = Counter(
    "swarmkeep_verifications_total",
    "Versions read back, by how (Quick, Full, Restore) and result: good, damaged, unrestorable, failed.",
    ["how", "result"],
    registry=REGISTRY,
)
VERIFIED_BYTES = Counter(
    "swarmkeep_verified_bytes_total", "Bytes read from storage to verify versions.", registry=REGISTRY
)
COPIES = Counter(
    "swarmkeep_copies_total",
    "Versions copied to further locations, by location and result.",
    ["location", "result"],
    registry=REGISTRY,
)
CACHE_READS = Counter(
    "swarmkeep_cache_reads_total",
    "Versions that were looked for in the node's cache, by result.",
    ["result"],
    registry=REGISTRY,
)
CACHE_BYTES = Gauge("swarmkeep_cache_bytes", "What the node's cache of ready images takes on disk.", registry=REGISTRY)
STANDBY_SECONDS = Histogram(
    "swarmkeep_standby_seconds",
    "How long making another node's newest version ready took here.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
LEASE_AGE_SECONDS = Gauge(
    "swarmkeep_lease_age_seconds", "Time since the node's lease was last renewed.", registry=REGISTRY
)
FENCED = Gauge(
    "swarmkeep_fenced_workloads",
    "Workloads that stand still since the control plane is out of reach.",
    registry=REGISTRY,
)
KILLED_COPIES = Counter(
    "swarmkeep_killed_copies_total", "Copies ended because another node had taken their claim.", registry=REGISTRY
)
RECORDS_PENDING = Gauge(
    "swarmkeep_records_pending", "Records of versions that the API does not have yet.", registry=REGISTRY
)
SHIM_QUESTIONS = Counter(
    "swarmkeep_shim_questions_total",
    "Questions of the runtime shim, by operation and answer.",
    ["op", "answer"],
    registry=REGISTRY,
)


def newest_versions(samples: Samples) -> LiveGauge:
    """Of each workload that this node runs."""
    meaning = "The instant that the newest version of a workload holds: now minus this is the achieved recovery point."
    return LiveGauge("swarmkeep_newest_version_timestamp_seconds", meaning, ("namespace", "workload"), samples)


def replicas(samples: Samples) -> LiveGauge:
    """Of each workload that this node runs, in each further location."""
    meaning = "The instant that the newest version of a workload in a further location holds; 0 while it has none."
    return LiveGauge("swarmkeep_replica_timestamp_seconds", meaning, ("namespace", "workload", "location"), samples)


def under_other_keys(samples: Samples) -> LiveGauge:
    """Of each encrypted location."""
    meaning = "Versions whose data key is not under the location's current key yet, when this node last looked."
    return LiveGauge("swarmkeep_versions_under_other_keys", meaning, ("location",), samples)
