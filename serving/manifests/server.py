"""TensorFlow Serving's arguments and configuration files."""

from __future__ import annotations

from serving.manifests.layout import CONFIG_FOLDER, Layout
from serving.manifests.settings import Settings

GRPC_PORT = 8500
REST_PORT = 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
BATCHING_FILE = "batching.pbtxt"
MONITORING_FILE = "monitoring.pbtxt"
MONITORING = f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}\n'

_POLL_SECONDS = 5
_MAX_ROWS = 1024
# A client's connection lives this long; then it picks a pod anew. Without that, gRPC would stay
# with the pods that were there first, whatever the autoscaler adds.
_CONNECTION_SECONDS = 30
_CONNECTION_GRACE_SECONDS = 10
# From "delete this pod" to SIGTERM, on which TensorFlow Serving ends at once: every connection has
# moved on by then (gRPC spreads their ages by a tenth).
DRAIN_SECONDS = 45


def arguments(layout: Layout, settings: Settings) -> list[str]:
    """What every pod's server is started with."""
    threads = 4 * settings.cores
    return [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_config_file={layout.config_path}",
        f"--model_config_file_poll_wait_seconds={_POLL_SECONDS}",
        *monitoring_arguments(),
        f"--grpc_channel_arguments=grpc.max_connection_age_ms={_CONNECTION_SECONDS * 1000},"
        f"grpc.max_connection_age_grace_ms={_CONNECTION_GRACE_SECONDS * 1000}",
        # The server would count the cores of the node.
        f"--grpc_max_threads={threads}",
        f"--rest_api_num_threads={threads}",
    ]


def monitoring_arguments() -> list[str]:
    """Metrics for Prometheus on the REST port."""
    return [f"--monitoring_config_file={CONFIG_FOLDER}/{MONITORING_FILE}"]


def batching_arguments() -> list[str]:
    """Requests are run together as the batching file says."""
    return ["--enable_batching=true", f"--batching_parameters_file={CONFIG_FOLDER}/{BATCHING_FILE}"]


def cpu_arguments(settings: Settings) -> list[str]:
    """One thread for an operator, and one batch per core: so they do not wait for each other."""
    return [
        "--tensorflow_intra_op_parallelism=1",
        f"--tensorflow_inter_op_parallelism={settings.cores}",
    ]


def cpu_batching(settings: Settings) -> str:
    """BatchingParameters (text proto): a batch per core, hardly any waiting."""
    return _batching([1, 2, 4, 8, 16, 32], 1000, settings.cores)


def gpu_batching(settings: Settings) -> str:
    """BatchingParameters (text proto): larger batches, two of them on the way to each GPU."""
    return _batching([1, 4, 16, 64, 128], 2000, 2 * settings.gpus)


def _batching(sizes: list[int], timeout_micros: int, threads: int) -> str:
    return (
        # Rows of a request; it is split into batches of the sizes below.
        f"max_batch_size {{ value: {_MAX_ROWS} }}\n"
        "enable_large_batch_splitting { value: true }\n"
        f"max_execution_batch_size {{ value: {sizes[-1]} }}\n"
        + "".join(f"allowed_batch_sizes: {size}\n" for size in sizes)
        + f"batch_timeout_micros {{ value: {timeout_micros} }}\n"
        f"num_batch_threads {{ value: {threads} }}\n"
        # Beyond these a request is refused at once (UNAVAILABLE), and the client tries again.
        f"max_enqueued_batches {{ value: {16 * threads} }}\n"
    )
