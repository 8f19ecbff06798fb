"""Every Beam graph can leave this process: as a portable proto, with code that workers can load."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, WorkerOptions
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.transforms.environments import DockerEnvironment, Environment

from tests.tfx_pipeline.beam_graphs import (
    GRAPHS,
    REPOSITORY,
    folder_for_graphs,
    package_alone,
)
from tfx_pipeline.data.beam_options import load_option_set

_HERE = Path(__file__).resolve().parent
# A module that builds a Beam graph, and what it is called in GRAPHS.
_BUILDERS = {
    "tfx_pipeline/release/gallery_embeddings.py": "index",
    "tfx_pipeline/data/examples.py": "examples",
    "tfx_pipeline/data/question_examples.py": "questions",
    "tfx_pipeline/data/word_counts.py": "words",
}


class OfATestModule(beam.DoFn):
    """Pickled by reference, to a module that workers do not have."""

    def process(self, element):
        yield element


class WithAnOpenFile(beam.DoFn):
    """Holds what belongs to one process."""

    def __init__(self, path):
        self.stream = path.open("wb")

    def process(self, element):
        yield element


@functools.cache
def options_and_environment(name):
    """An option set, and what its runner makes of it when it submits a pipeline."""
    arguments = load_option_set(REPOSITORY / "configs" / "beam" / f"{name}.yaml")
    options = PipelineOptions(arguments)
    if name == "dataflow":
        image = options.view_as(WorkerOptions).sdk_container_image
        return options, DockerEnvironment.from_container_image(image)
    return options, Environment.from_options(options.view_as(PortableOptions))


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Serialised graphs by name: the project's, and `bad`."""
    folder = folder_for_graphs(tmp_path_factory.mktemp("graphs"))
    result = {}
    for name, build in GRAPHS.items():
        pipeline = beam.Pipeline(runner="FnApiRunner")
        build(pipeline, folder)
        result[name] = pipeline.to_runner_api()
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create([1]) | beam.ParDo(OfATestModule())
    result["bad"] = pipeline.to_runner_api()
    return result


@pytest.fixture(scope="module")
def loaded_elsewhere(graphs, tmp_path_factory):
    """What a process can load that has the package and nothing else of the repository."""
    folder = tmp_path_factory.mktemp("worker")
    for name, graph in graphs.items():
        (folder / name).write_bytes(graph.SerializeToString())
    process = subprocess.run(
        [sys.executable, "-P", str(_HERE / "load_beam_graph.py"), *graphs],
        env={**os.environ, "PYTHONPATH": str(package_alone(folder / "site"))},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return json.loads(process.stdout)


def test_every_graph_is_known():
    found = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "tfx_pipeline").rglob("*.py")
        if ">> beam." in path.read_text("utf-8")
    }
    assert found == set(_BUILDERS)
    assert set(_BUILDERS.values()) == set(GRAPHS)


@pytest.mark.parametrize(
    ("graph", "option_set", "environment"),
    [
        ("examples", "direct", "docker"),  # of which FnApiRunner makes its own process
        ("examples", "flink", "external"),
        ("examples", "spark", "external"),
        ("examples", "dataflow", "docker"),
        ("words", "flink", "external"),
        ("questions", "flink", "external"),
        ("index", "flink", "external"),
    ],
)
def test_graphs_are_serialised_and_come_back(tmp_path, graph, option_set, environment):
    options, default = options_and_environment(option_set)
    # Dataflow's runner would ask Google Cloud for the buckets; the graph does not depend on it.
    pipeline = beam.Pipeline(runner="FnApiRunner", options=options)
    GRAPHS[graph](pipeline, folder_for_graphs(tmp_path / "data"))
    proto = pipeline.to_runner_api(default_environment=default)
    urns = {env.urn for env in proto.components.environments.values()}
    assert urns == {f"beam:env:{environment}:v1"}
    serialized = proto.SerializeToString()
    # gRPC's limit is 4 MiB. Code goes by reference; nothing of the data belongs into the graph.
    assert len(serialized) < 300_000

    again = beam.Pipeline.from_runner_api(
        api.Pipeline.FromString(serialized), "FnApiRunner", options
    ).to_runner_api(default_environment=default)
    assert shape(again) == shape(proto)


def shape(graph):
    return sorted((t.unique_name, t.spec.urn) for t in graph.components.transforms.values())


def test_workers_with_the_package_alone_can_load_all_code(graphs, loaded_elsewhere):
    loaded = loaded_elsewhere["loaded"]
    for name in GRAPHS:
        assert name not in loaded_elsewhere["errors"]
        transforms = graphs[name].components.transforms.values()
        with_code = {t.unique_name for t in transforms if b"pickled_python" in t.spec.payload}
        assert with_code and with_code <= set(loaded[name])
    data = "tfx_pipeline.data"
    assert f"{data}.log_branch.ReadLog" in loaded["examples"]["ReadLog/ParDo(ReadLog)"]
    assert f"{data}.image_branch.WriteExamples" in loaded["examples"]["WriteExamples"]
    assert f"{data}.stats.merge_stats" in loaded["examples"]["MergeAllStats/CombinePerKey"]
    encode = "tfx_pipeline.release.gallery_embeddings.EncodeImages"
    assert encode in loaded["index"]["Encode"]


def test_workers_import_neither_tfx_nor_before_the_first_element_tensorflow(loaded_elsewhere):
    imported = set(loaded_elsewhere["imported"])
    assert "tfx_pipeline.data.log_branch" in imported
    assert not imported & {"tfx", "tensorflow", "keras", "ml_metadata"}


def test_code_that_workers_do_not_have_is_found(loaded_elsewhere):
    assert loaded_elsewhere["errors"] == {
        "bad": "ModuleNotFoundError: No module named 'tests'",
    }


def test_what_belongs_to_one_process_is_found(tmp_path):
    with pytest.raises(RuntimeError, match=r"cannot pickle '_io\.BufferedWriter' object"):
        beam.ParDo(WithAnOpenFile(tmp_path / "file"))
