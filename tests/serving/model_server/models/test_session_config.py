import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from serving.errors import StatusError
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.models.session_config import session_config
from serving.model_server.options import ServerOptions


def test_nothing_is_set_by_default():
    assert session_config(ServerOptions()) == tf.compat.v1.ConfigProto()


@pytest.mark.parametrize(
    ("options", "intra", "inter"),
    [
        ({"tensorflow_session_parallelism": 3}, 3, 3),
        ({"tensorflow_intra_op_parallelism": 2}, 2, 0),
        ({"tensorflow_inter_op_parallelism": -1}, 0, -1),
        ({"tensorflow_session_parallelism": 3, "tensorflow_inter_op_parallelism": 2}, 3, 2),
    ],
)
def test_threads(options, intra, inter):
    config = session_config(ServerOptions(**options))
    assert config.intra_op_parallelism_threads == intra
    assert config.inter_op_parallelism_threads == inter


def test_flags_win_over_the_file(tmp_path):
    path = tmp_path / "session.config"
    path.write_text(
        "intra_op_parallelism_threads: 7 inter_op_parallelism_threads: 6\n"
        "use_per_session_threads: true gpu_options { allow_growth: true }"
    )
    config = session_config(
        ServerOptions(
            tensorflow_session_config_file=str(path),
            tensorflow_inter_op_parallelism=2,
            per_process_gpu_memory_fraction=0.25,
        )
    )
    assert config == tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=7,
        inter_op_parallelism_threads=2,
        use_per_session_threads=True,
        gpu_options=tf.compat.v1.GPUOptions(
            allow_growth=True, per_process_gpu_memory_fraction=0.25
        ),
    )


def test_broken_file(tmp_path):
    path = tmp_path / "session.config"
    path.write_text("threads: many")
    with pytest.raises(StatusError) as caught:
        session_config(ServerOptions(tensorflow_session_config_file=str(path)))
    assert caught.value.text == f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"


def test_mixed_precision():
    config = session_config(ServerOptions(mixed_precision="bfloat16"))
    rewriter = config.graph_options.rewrite_options
    assert rewriter.auto_mixed_precision_onednn_bfloat16 == rewriter_config_pb2.RewriterConfig.ON
    with pytest.raises(StatusError) as caught:
        session_config(ServerOptions(mixed_precision="float16"))
    assert caught.value.text == (
        'INVALID_ARGUMENT: server_options.mixed_precision must be empty or "bfloat16". '
        "Received: float16"
    )


@pytest.mark.parametrize(
    "options", [{"mixed_precision": "bfloat16"}, {"tensorflow_inter_op_parallelism": -1}]
)
def test_models_run_with_it(arithmetic, options):
    model = SavedModel.load(arithmetic / "1", config=session_config(ServerOptions(**options)))
    signature = model.signatures["serving_default"]
    (y,) = model.run(
        {signature.inputs["x"].name: np.float32([2, 4])}, [signature.outputs["y"].name]
    )
    np.testing.assert_array_equal(y, [3, 4])
    model.close()


PROGRAM = """
import os, sys
import numpy as np
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.models.session_config import session_config
from serving.model_server.options import ServerOptions

config = session_config(ServerOptions(tensorflow_session_parallelism=int(sys.argv[2])))
before = len(os.listdir("/proc/self/task"))
for _ in range(2):
    model = SavedModel.load(sys.argv[1], config=config)
    signature = model.signatures["serving_default"]
    model.run({signature.inputs["x"].name: np.float32([1])}, [signature.outputs["y"].name])
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.slow
def test_the_number_of_threads_is_that_of_the_process(arithmetic):
    """Two sessions share them; 8 more for each kind of thread are 16 more."""
    counts = [
        int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, str(arithmetic / "1"), str(threads)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
        )
        for threads in (2, 10)
    ]
    assert counts[1] - counts[0] == 16
