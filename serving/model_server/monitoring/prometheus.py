"""The page of metrics that Prometheus reads."""

from __future__ import annotations

import re
from collections.abc import Iterable

import prometheus_client
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from serving.model_server.monitoring.metrics import REGISTRY, metric_name

CONTENT_TYPE = "text/plain"


def metrics_page(registry: prometheus_client.CollectorRegistry = REGISTRY) -> str:
    """All metrics of `registry`; one that was never counted has its `# TYPE` line alone."""
    page = prometheus_client.generate_latest(registry).decode("utf-8")
    # The names of counters, which generate_latest takes to have lost that end.
    return re.sub(r"^(# (?:HELP|TYPE) :\S+)_total ", r"\1 ", page, flags=re.MULTILINE)


class _SavedModelReads(Collector):
    """The one family of TensorFlow's own metrics that Python can read."""

    def collect(self) -> Iterable[Metric]:
        from tensorflow.python.saved_model.pywrap_saved_model import metrics

        name = "/tensorflow/core/saved_model/read/count"
        metric = Metric(metric_name(name), name, "counter")
        for version in ("1", "2"):
            labels = {"model_version": version}
            metric.add_sample(metric.name, labels, metrics.GetRead(write_version=version))
        yield metric


prometheus_client.ProcessCollector(registry=REGISTRY)
REGISTRY.register(_SavedModelReads())
