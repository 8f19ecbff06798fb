import psutil
from prometheus_client import CollectorRegistry

from serving.model_server.monitoring.metrics import cell, counter, histogram, metric_name
from serving.model_server.monitoring.prometheus import metrics_page


def _lines(registry):
    return [line for line in metrics_page(registry).splitlines() if "# HELP " not in line]


def test_name():
    assert metric_name("/tensorflow/serving/request_count") == ":tensorflow:serving:request_count"
    assert metric_name("process_start_time_seconds") == "process_start_time_seconds"


def test_page():
    registry = CollectorRegistry()
    limits = [10, 18, 32.4, 1234567.8]
    cell(histogram("/t/latency", ("model_name",), limits, registry), "m").observe(11)
    cell(counter("/t/count", "model_name", "status", registry=registry), "m", "OK").inc(3)
    cell(counter("/t/count_total", "model", registry=registry), "m").inc()
    counter("/t/none", registry=registry).inc()
    counter("/t/unused", "a", registry=registry)
    assert _lines(registry) == [
        "# TYPE :t:latency histogram",
        ':t:latency_bucket{le="10",model_name="m"} 0.0',
        ':t:latency_bucket{le="18",model_name="m"} 1.0',
        ':t:latency_bucket{le="32.4",model_name="m"} 1.0',
        ':t:latency_bucket{le="1.23457e+06",model_name="m"} 1.0',
        ':t:latency_bucket{le="+Inf",model_name="m"} 1.0',
        ':t:latency_count{model_name="m"} 1.0',
        ':t:latency_sum{model_name="m"} 11.0',
        "# TYPE :t:count counter",
        ':t:count{model_name="m",status="OK"} 3.0',
        "# TYPE :t:count_total counter",
        ':t:count_total{model="m"} 1.0',
        "# TYPE :t:none counter",
        ":t:none 1.0",
        "# TYPE :t:unused counter",
    ]


def test_a_name_from_a_request_cannot_break_the_page():
    registry = CollectorRegistry()
    cell(counter("/c", "model_name", registry=registry), 'a"b\\c\nd').inc()
    assert _lines(registry) == ["# TYPE :c counter", ':c{model_name="a\\"b\\\\c\\nd"} 1.0']


def test_what_the_server_publishes():
    page = metrics_page()
    for name, kind in (
        (":tensorflow:serving:request_count", "counter"),
        (":tensorflow:serving:request_latency", "histogram"),
        (":tensorflow:serving:runtime_latency", "histogram"),
        (":tensorflow:serving:request_example_counts", "histogram"),
        (":tensorflow:serving:request_example_count_total", "counter"),
        (":tensorflow:serving:request_log_count", "counter"),
        (":tensorflow:serving:model_warmup_latency", "histogram"),
        (":tensorflow:serving:model_warmup_records_read", "counter"),
        (":tensorflow:serving:batching_session:queuing_latency", "histogram"),
        (":tensorflow:serving:batching_session:wrapped_run_count", "counter"),
        (":tensorflow:serving:batching_session:padding_size", "histogram"),
        (":tensorflow:serving:batching_session:input_batch_size", "histogram"),
        (":tensorflow:serving:batching_session:processed_batch_size", "histogram"),
        (":tensorflow:core:saved_model:read:count", "counter"),
    ):
        assert f"# TYPE {name} {kind}\n" in page
    assert "_created" not in page


def test_start_of_the_process():
    line = next(x for x in metrics_page().splitlines() if x.startswith("process_start_time"))
    started = float(line.removeprefix("process_start_time_seconds "))
    assert abs(started - psutil.Process().create_time()) < 2
