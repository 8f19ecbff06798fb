"""What Prometheus reads of a search service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class GatewayMetrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vlsearch_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "vlsearch_request_seconds",
            "Seconds of a request, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "vlsearch_search_stage_seconds",
            "Seconds of a search that was not cached, by stage.",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.cached = Counter(
            "vlsearch_cache",
            "Searches by whether they were cached.",
            ("hit",),
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "vlsearch_rerank_fallbacks",
            "Searches that kept the towers' order though the reranker was asked.",
            registry=self.registry,
        )
        self.events = Counter(
            "vlsearch_logged",
            "Lines of the click log by kind: impression, click, repeated, failed.",
            ("kind",),
            registry=self.registry,
        )
        self.release = Gauge(
            "vlsearch_release", "Version of the release that answers.", registry=self.registry
        )

    def text(self) -> bytes:
        """Return them in Prometheus' text format."""
        return generate_latest(self.registry)
