"""How TensorFlow runs the graphs: the ConfigProto of all sessions of a server.

TensorFlow's sessions in one process share their threads. The first session fixes the number of
threads between operators (DirectSession's global pool) and the first CPU device that of threads
within them, unless the configuration says `use_per_session_threads: true`, which gives each session
threads between operators of its own. All sessions of a server have the same configuration, so the
numbers hold where the server is the first in its process to run a graph, as it is by itself.
"""

from __future__ import annotations

from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

from serving.errors import invalid
from serving.model_server.options import ServerOptions
from serving.model_server.text_proto import read_text_proto

_MIXED_PRECISIONS = ("", "bfloat16")


def session_config(options: ServerOptions) -> config_pb2.ConfigProto:
    """Return the ConfigProto that `options` mean.

    Raises:
        StatusError: the file is missing or broken, or a precision that there is not.
    """
    config = config_pb2.ConfigProto()
    if options.tensorflow_session_config_file:
        read_text_proto(options.tensorflow_session_config_file, config)
    threads = options.tensorflow_session_parallelism
    if intra := options.tensorflow_intra_op_parallelism or threads:
        config.intra_op_parallelism_threads = intra
    if inter := options.tensorflow_inter_op_parallelism or threads:
        config.inter_op_parallelism_threads = inter
    if options.per_process_gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = options.per_process_gpu_memory_fraction
    if options.mixed_precision not in _MIXED_PRECISIONS:
        raise invalid(
            'server_options.mixed_precision must be empty or "bfloat16". '
            f"Received: {options.mixed_precision}",
        )
    if options.mixed_precision:
        rewriter = config.graph_options.rewrite_options
        rewriter.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
    return config
