"""The API server's metrics; docs/metrics.md explains each."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "swarmkeep_api_requests_total",
    "Requests by verb, kind and status code.",
    ["verb", "resource", "code"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "swarmkeep_api_request_seconds",
    "Time to answer, watches not included.",
    ["verb"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
WATCHERS = Gauge("swarmkeep_api_watchers", "Watch streams that are open.", registry=REGISTRY)
HISTORY_BYTES = Gauge(
    "swarmkeep_api_history_bytes", "Memory of the changes that watches can be resumed from.", registry=REGISTRY
)
FOLLOWS_ETCD = Gauge("swarmkeep_api_follows_etcd", "1 while the server follows etcd.", registry=REGISTRY)
