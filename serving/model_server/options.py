"""Options of the model server, and those that serve a release."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.errors import invalid

if TYPE_CHECKING:
    from serving.followed_config import FollowedConfig
    from serving.model_server.batching.config import BatchingParameters
    from serving.model_server.management.config import ModelServerConfig
    from serving.model_server.monitoring.config import MonitoringConfig

_CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_THREADS = 4 * _CPUS
_LAST_PORT = 65_535
_POLL_SECONDS = 1
_KINDS = {bool: "bool", int: "int32", float: "float", str: "string"}


def _flag(
    default: Any,
    usage: str,
    kind: str | None = None,
    extension: bool = False,
    ignored: bool = False,
    from_text: Callable[[str], Any] | None = None,
) -> Any:
    """Return a field that is also a flag of the command `vlsearch-model-server`.

    Args:
        default: value of the field.
        usage: what it does, in one line.
        kind: bool, int32, int64, float or string; None is the type of `default`.
        extension: TensorFlow Serving has no such flag.
        ignored: accepted, because command lines have it, without an effect here.
        from_text: makes the value of a string.
    """
    metadata: Mapping[str, Any] = {
        "usage": f"{usage} No effect in this server." if ignored else usage,
        "kind": kind or _KINDS[type(default)],
        "extension": extension,
        "ignored": ignored,
        "from_text": from_text,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ServerOptions:
    """What TensorFlow Serving takes as flags, under the same names and with the same defaults.

    Different from there: the fields that are marked as extensions, and a port of None, which means
    one that is free.
    """

    port: int | None = _flag(8500, "TCP port of the gRPC API; 0 opens none.")
    grpc_socket_path: str = _flag(
        "", "Path of a UNIX socket that also answers gRPC; relative to the working directory."
    )
    rest_api_port: int | None = _flag(
        0, "TCP port of the REST API; 0 opens none. Must differ from --port."
    )
    rest_api_num_threads: int = _flag(_THREADS, "Threads that answer REST requests.")
    rest_api_timeout_in_ms: int = _flag(30_000, "Milliseconds that a REST request may take.")
    rest_api_enable_cors_support: bool = _flag(
        False, "Let scripts of other origins read REST answers (CORS headers)."
    )
    model_name: str = _flag("default", "Name of the one model. Not with --model_config_file.")
    model_base_path: str = _flag(
        "",
        "Folder of the one model; its versions are sub-folders named by numbers. Required unless "
        "--model_config_file is given.",
    )
    model_config_file: str = _flag(
        "", "Text proto ModelServerConfig: several models, versions, labels."
    )
    model_config_file_poll_wait_seconds: float = _flag(
        0, "Seconds between two readings of --model_config_file; 0 reads it once.", "int32"
    )
    file_system_poll_wait_seconds: float = _flag(
        1,
        "Seconds between two searches for new versions; 0 searches once, below 0 never.",
        "int32",
    )
    enable_batching: bool = _flag(False, "Run requests together in batches.")
    batching_parameters_file: str = _flag(
        "", "Text proto BatchingParameters. Only with --enable_batching."
    )
    enable_per_model_batching_parameters: bool = _flag(
        False,
        "Read batching_params.pbtxt beside each SavedModel; of --batching_parameters_file only the "
        "thread pool counts. Only with --enable_batching.",
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Let a label that is not in use point at a version that is not loaded yet."
    )
    enable_model_warmup: bool = _flag(
        True, "Replay the requests in assets.extra before a version goes live."
    )
    num_request_iterations_for_warmup: int = _flag(
        0, "How often each warm-up request is run; 0 is once."
    )
    max_num_load_retries: int = _flag(5, "Further attempts after a load that failed.")
    load_retry_interval_micros: int = _flag(
        60_000_000, "Microseconds before such an attempt.", "int64"
    )
    num_load_threads: int = _flag(0, "Versions that may load at the same time; 0 is one.")
    num_unload_threads: int = _flag(0, "Versions that may unload at the same time; 0 is one.")
    saved_model_tags: Sequence[str] = _flag(
        ("serve",),
        "Tags of the graph to load from a SavedModel, separated by commas.",
        "string",
        from_text=lambda text: tuple(text.split(",")),
    )
    enable_signature_method_name_check: bool = _flag(
        False, "Refuse signatures whose method name is not that of the request."
    )
    enable_serialization_as_tensor_content: bool = _flag(
        False, "Write tensors of Predict answers as raw bytes (tensor_content)."
    )
    monitoring_config_file: str = _flag(
        "", "Text proto MonitoringConfig: serves metrics for Prometheus on the REST port."
    )
    ssl_config_file: str = _flag("", "Text proto SSLConfig: gRPC over TLS.")
    use_alts_credentials: bool = _flag(False, "gRPC over ALTS, on Google Cloud.")
    grpc_channel_arguments: str = _flag(
        "", "Arguments of the gRPC server: name=value, separated by commas."
    )
    grpc_max_threads: int = _flag(_THREADS, "Threads that answer gRPC requests.")
    enable_grpc_healthcheck_service: bool = _flag(False, "Serve grpc.health.v1.Health.")
    enable_profiler: bool = _flag(True, "Serve tensorflow.ProfilerService.")
    tensorflow_session_parallelism: int = _flag(
        0, "Threads of a session, within and between operators; 0 lets TensorFlow choose.", "int64"
    )
    tensorflow_intra_op_parallelism: int = _flag(
        0, "Threads within one operator; 0 lets TensorFlow choose.", "int64"
    )
    tensorflow_inter_op_parallelism: int = _flag(
        0, "Operators that may run at the same time; 0 lets TensorFlow choose.", "int64"
    )
    tensorflow_session_config_file: str = _flag(
        "", "Text proto ConfigProto of the sessions; flags win over it."
    )
    per_process_gpu_memory_fraction: float = _flag(
        0.0, "Share of each GPU's memory to take at the start, up to 1.0; 0.0 lets TensorFlow grow."
    )
    mixed_precision: str = _flag("", 'Precision to run graphs in: "" or "bfloat16".')
    # TensorFlow's Python cannot forbid it.
    xla_cpu_compilation_enabled: bool = _flag(
        False, "Let graphs use XLA on the CPU: here they always may.", ignored=True
    )
    xla_gpu_compilation_enabled: bool = _flag(
        False, "Let graphs use XLA on GPUs: here they always may.", ignored=True
    )
    prefer_tflite_model: bool = _flag(
        False, "Use model.tflite of a version that has one, instead of its SavedModel."
    )
    num_tflite_pools: int = _flag(_CPUS, "Pools of TFLite interpreters of a model.")
    num_tflite_interpreters_per_pool: int = _flag(1, "Interpreters of such a pool.")
    flush_filesystem_caches: bool = _flag(
        True, "Drop files from the page cache once they are loaded.", ignored=True
    )
    platform_config_file: str = _flag("", "Text proto PlatformConfigMap.", ignored=True)
    remove_unused_fields_from_bundle_metagraph: bool = _flag(
        True, "Drop parts of the MetaGraphDef that nobody reads.", ignored=True
    )
    thread_pool_factory_config_file: str = _flag(
        "", "Text proto ThreadPoolFactoryConfig.", ignored=True
    )
    skip_initialize_tpu: bool = _flag(False, "Leave TPUs as they are.", ignored=True)

    host: str = _flag("127.0.0.1", "Address that gRPC and REST listen on.", extension=True)
    rest_api_list_models: bool = _flag(
        False, "Answer GET /v1/models with the models that are served.", extension=True
    )
    rest_api_health_path: str = _flag(
        "",
        "Path that answers GET with 200 on the REST port once models are loaded.",
        extension=True,
    )
    rest_ssl_config_file: str = _flag("", "Text proto SSLConfig: REST over TLS.", extension=True)
    enable_per_signature_metrics: bool = _flag(
        False, "Count requests by signature, too.", extension=True
    )
    caller_secret_file: str = _flag(
        "", "File with the secret that callers must send.", extension=True
    )
    rest_api_read_timeout_in_ms: int = _flag(
        50_000,
        "Milliseconds in which the head of a REST request, and each piece of its body, must come.",
        extension=True,
    )
    max_request_bytes: int = _flag(
        0, "Largest gRPC request; 0 is without limit.", "int64", extension=True
    )
    rest_api_max_request_bytes: int = _flag(
        256 * 2**20, "Largest body of a REST request; 0 is without limit.", "int64", extension=True
    )
    max_concurrent_requests: int = _flag(
        0,
        "Requests under way at the same time, before others are refused; 0 is without limit.",
        extension=True,
    )
    max_image_pixels: int = _flag(
        2**26,
        "Largest image in a request, as width times height; 0 is without limit.",
        "int64",
        extension=True,
    )

    def validate(self) -> None:
        """Check the options against each other, in TensorFlow Serving's order and words.

        Raises:
            StatusError: INVALID_ARGUMENT, options that exclude or need each other.
        """
        if self.port == 0 and not self.grpc_socket_path:
            raise invalid(
                "At least one of server_options.grpc_port or server_options.grpc_socket_path must "
                "be set."
            )
        if self.use_alts_credentials and self.ssl_config_file:
            raise invalid(
                "Either use_alts_credentials must be false or ssl_config_file must be empty."
            )
        if not self.model_base_path and not self.model_config_file:
            raise invalid(
                "Both server_options.model_base_path and server_options.model_config_file are "
                "empty!"
            )
        if self.batching_parameters_file and not self.enable_batching:
            raise invalid(
                "server_options.batching_parameters_file is set without setting "
                "server_options.enable_batching to true."
            )
        if (
            self.tensorflow_session_parallelism > 0
            and self.tensorflow_intra_op_parallelism > 0
            and self.tensorflow_inter_op_parallelism > 0
        ):
            raise invalid(
                "Either configure server_options.tensorflow_session_parallelism or "
                "(server_options.tensorflow_intra_op_parallelism, "
                "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure "
                "all."
            )
        for name in ("port", "rest_api_port"):
            port = getattr(self, name)
            if port is not None and not (type(port) is int and 0 <= port <= _LAST_PORT):
                raise invalid(
                    f"server_options.{name} must be a TCP port, 0 to {_LAST_PORT}; was {port}"
                )
        for name in ("rest_api_num_threads", "grpc_max_threads"):
            if getattr(self, name) < 1:
                raise invalid(f"server_options.{name} must be positive; was {getattr(self, name)}")

    def read_config(self) -> ModelServerConfig:
        """Return the configuration these options name.

        Raises:
            StatusError: the file is missing or broken.
        """
        from serving.model_server.management.config import read_config, single_model_config

        if self.model_config_file:
            return read_config(self.model_config_file)
        return single_model_config(self.model_name, self.model_base_path)

    def batching_parameters(self) -> BatchingParameters | None:
        """How to batch requests; None is not at all.

        Raises:
            StatusError: the file is missing, broken, or asks for what cannot be.
        """
        from serving.model_server.batching.config import (
            BatchingParameters,
            read_batching_parameters,
        )

        if not self.enable_batching:
            return None
        if self.batching_parameters_file:
            return read_batching_parameters(self.batching_parameters_file)
        return BatchingParameters(thread_pool_name="model_server_batch_threads")

    def monitoring_config(self) -> MonitoringConfig:
        """Whether and where metrics are served.

        Raises:
            StatusError: the file is missing or broken.
        """
        from serving.model_server.monitoring.config import MonitoringConfig, read_monitoring_config

        if not self.monitoring_config_file:
            return MonitoringConfig()
        return read_monitoring_config(self.monitoring_config_file)

    def without_effect(self) -> list[str]:
        """Names of the options that are set and that this server ignores."""
        return [
            option.name
            for option in fields(self)
            if option.metadata["ignored"] and getattr(self, option.name) != option.default
        ]


class ReleaseOptions(ServerOptions):
    """Options whose models.config is that of a release root: read for where the root is now."""

    # Not a field: another root's options are made from the fields of these.
    __slots__ = ("_followed",)
    _followed: FollowedConfig

    def __init__(self, **options: Any):
        from serving.followed_config import FollowedConfig

        super().__init__(**options)
        root = Path(self.model_config_file).parent
        object.__setattr__(self, "_followed", FollowedConfig(root))

    def read_config(self) -> ModelServerConfig:
        """Return the configuration; while what is on the disk is damaged, the one before.

        Raises:
            StatusError: it cannot be read, and never could.
        """
        return self._followed.read()


def release_options(root: str | Path, **options: Any) -> ServerOptions:
    """Options that serve `root` and follow it.

    Args:
        root: a release root.
        options: further fields of ServerOptions.

    Raises:
        ServingError: `root` holds no complete release, or one that is damaged.
    """
    from serving.checksums import check_release
    from serving.model_config import CONFIG_FILE
    from serving.release import Release, root_path
    from serving.served_config import located_config, read_models_config

    root = root_path(root)
    release = Release.load(root)
    located_config(read_models_config(root), root, release)
    check_release(root, release, release.models)
    return ReleaseOptions(
        model_config_file=str(root / CONFIG_FILE),
        model_config_file_poll_wait_seconds=_POLL_SECONDS,
        **options,
    )
