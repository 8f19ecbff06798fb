"""What the workers of a training send each other per step, counted in the traced step itself.

Two worker processes (MultiWorkerMirroredStrategy, one CPU replica each) build an experiment's model
and trace its real training step; the chief lists the collective operators of the graph and the
bytes of the tensors that go in. Nothing is trained, so no data are needed; parameters, batch and
shapes are those of the configuration.

    python benchmarks/gather_bytes.py [--config configs/emoji.yaml] [--replicas 2] [--json FILE]

With R replicas a ring sends from each (R - 1) times its part of a gather, and 2 (R - 1) / R of a
reduction.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from _shared import Results, argument_parser

REPOSITORY = Path(__file__).resolve().parents[1]
GATHER, REDUCE = "gather", "reduce"
_OPERATORS = {"CollectiveGatherV2": GATHER, "CollectiveReduceV2": REDUCE}


def collectives(concrete_function) -> list[tuple[str, str, tuple[int, ...], int]]:
    """(gather or reduce, dtype, shape, bytes) of what this replica puts into each collective.

    Raises:
        ValueError: a collective operator that is not known here, or a tensor of unknown size.
    """
    found = []
    for graph in _graphs(concrete_function.graph):
        for operation in graph.get_operations():
            if not operation.type.startswith("Collective"):
                continue
            if operation.type not in _OPERATORS:
                raise ValueError(f"{operation.name} is of another kind: {operation.type}.")
            tensor = operation.inputs[0]
            if tensor.op.type == "Pad":
                # To the largest of the replicas' parts; they are of one size.
                tensor = tensor.op.inputs[0]
            if not tensor.shape.is_fully_defined():
                raise ValueError(f"{operation.name} has an input of unknown size: {tensor}.")
            size = tensor.shape.num_elements() * tensor.dtype.size
            shape = tuple(tensor.shape.as_list())
            found.append((_OPERATORS[operation.type], tensor.dtype.name, shape, size))
    return found


def _graphs(graph, seen=None):
    """The graph and those of all functions that it calls, each once."""
    seen = set() if seen is None else seen
    yield graph
    for operation in graph.get_operations():
        for attribute in operation.node_def.attr.values():
            for name in [attribute.func.name, *(f.name for f in attribute.list.func)]:
                if name and name not in seen:
                    seen.add(name)
                    yield from _graphs(graph._get_function(name).graph, seen)


def sent_bytes(kind: str, size: int, replicas: int) -> float:
    """Bytes that one replica sends in a ring; it receives as many."""
    return size * (replicas - 1) * (1 if kind == GATHER else 2 / replicas)


def trace_step(config_file: str, replicas: int):
    """The concrete step of the configuration's first phase, on this worker of the cluster."""
    import keras
    import tensorflow as tf

    from tfx_pipeline.config import ExperimentConfig
    from vl_models.models.registry import create_model
    from vl_models.training.optimizers import build_groups
    from vl_models.training.step import compile_steps
    from vl_models.training.strategy import make_strategy

    strategy = make_strategy("cpu")
    config = ExperimentConfig.load(config_file, ["devices=cpu"])
    train = config.train
    model_config = config.model.model_copy(update={"vocabulary_size": config.vocabulary.size})
    phase = train.resolved_stages()[0].phases[0]
    optimizers = phase.optimizers or train.resolved_optimizers()
    with strategy.scope():
        model = create_model(model_config)
        model.build()
        variables = model.trainable_variables
        groups = build_groups("", optimizers, variables, train.default_schedule())
    steps = compile_steps(model, strategy, phase, groups, clip_norm=train.clip_norm)

    rows, texts = train.global_batch_size // replicas, train.texts_per_image
    length, size = model_config.max_length, model_config.image_size
    batch = {
        "image": tf.zeros([rows, size, size, 3], tf.uint8),
        "token_ids": tf.ones([rows * texts, length], tf.int32),
        "text_mask": tf.ones([rows * texts, length], tf.bool),
        "image_id_hash": tf.range(rows, dtype=tf.int64),
        "query_hash": tf.range(rows * texts, dtype=tf.int64),
        "clicked_query_hashes": -tf.ones([rows, config.input.max_clicked_queries], tf.int64),
        "clicked_query_weight": tf.zeros([rows, config.input.max_clicked_queries]),
        "seed": tf.zeros([rows, 2], tf.int32),
    }
    distributed = {
        key: strategy.experimental_distribute_values_from_function(lambda _, v=value: v)
        for key, value in batch.items()
    }
    parameters = sum(keras.ops.size(variable) for variable in variables)
    traced = steps.update.get_concrete_function(distributed, tf.constant(0.0))
    return traced, int(parameters)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--config", default=str(REPOSITORY / "configs/emoji.yaml"))
    parser.add_argument("--replicas", type=int, default=2, help="workers, of one replica each")
    arguments = parser.parse_args()
    if "TF_CONFIG" in os.environ:  # one of the workers that this script started
        traced, parameters = trace_step(arguments.config, arguments.replicas)
        print(json.dumps({"found": collectives(traced), "parameters": parameters}))
        sys.stdout.flush()
        sys.stdin.read()  # nobody leaves before all are done
        return
    report = _trace_on_workers(arguments)
    for kind, dtype, shape, size in report["found"]:
        print(f"{kind:<7} {dtype:<8} {shape!s:<14} {size:>10,} bytes")
    results = Results()
    found = report["found"]
    totals = {}
    for kind in (GATHER, REDUCE):
        sizes = [size for found_kind, _, _, size in found if found_kind == kind]
        sent = sum(sent_bytes(kind, size, arguments.replicas) for size in sizes)
        totals[kind] = sent
        measure = f"{kind}: {len(sizes)} operators"
        value = f"{sum(sizes):,} bytes in, {sent:,.0f} sent and received"
        results.add(measure, value, bytes_in=sum(sizes), bytes_sent=sent)
    results.add(
        "trainable parameters", f"{report['parameters']:,}", parameters=report["parameters"]
    )
    total = sum(totals.values())
    results.add(
        f"sent by each of {arguments.replicas} replicas per step",
        f"{total:,.0f} bytes",
        total=total,
    )
    results.finish(arguments)


def _trace_on_workers(arguments) -> dict:
    """What the chief of a cluster of such processes reports."""
    sockets = [socket.socket() for _ in range(arguments.replicas)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    command = [sys.executable, __file__, "--config", str(Path(arguments.config).resolve())]
    command += ["--replicas", str(arguments.replicas)]
    processes = []
    for index in range(arguments.replicas):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(task), "CUDA_VISIBLE_DEVICES": "-1"}
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])
        )
        processes.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        )
    try:
        lines = [process.stdout.readline() for process in processes]
    finally:
        for process in processes:
            process.stdin.close()
            process.wait()
    if not all(lines):
        sys.exit("A worker ended without a report; see its message above.")
    reports = [json.loads(line) for line in lines]
    assert all(report == reports[0] for report in reports), "workers traced different steps"
    return reports[0]


if __name__ == "__main__":
    main()
