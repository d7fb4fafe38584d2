"""Serves a daemon's metrics in Prometheus' text format on its own small HTTP listener."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server


def serve_metrics(host: str, port: int, registry: CollectorRegistry) -> None:
    """Answers GET /metrics from a thread of its own until the process ends. Raises OSError when the port is taken."""
    start_http_server(port, addr=host, registry=registry)
