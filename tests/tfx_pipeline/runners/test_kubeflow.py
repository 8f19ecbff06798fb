"""The compiled spec: Kubeflow's loader and schema take it, and it says what was configured."""

import json

import pytest
import yaml

from serving.kubernetes_names import is_label
from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from vl_models.errors import UserError

EMOJI = REPOSITORY / "configs" / "emoji.yaml"
STEPS = {
    "click-example-gen": set(),
    "statistics-gen": {"click-example-gen"},
    "schema-gen": {"statistics-gen"},
    "example-validator": {"schema-gen", "statistics-gen"},
    "vocabulary-gen": {"click-example-gen"},
    "text-transform": {"click-example-gen", "schema-gen", "vocabulary-gen"},
    "trainer": {"click-example-gen", "schema-gen", "text-transform"},
    "retrieval-evaluator": {"click-example-gen", "trainer"},
    "index-builder": {"click-example-gen", "trainer"},
    "serving-validator": {"click-example-gen", "index-builder", "trainer"},
    "release-pusher": {"index-builder", "retrieval-evaluator", "serving-validator", "trainer"},
}


@pytest.fixture
def compile_to(tmp_path):
    """compile_to(*overrides) → the documents of the spec, and its path."""
    from tfx_pipeline.runners.kubeflow import compile_pipeline

    def make(*overrides):
        path = tmp_path / "pipeline.yaml"
        compile_pipeline(ExperimentConfig.load(EMOJI, overrides), path)
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8"))), path

    return make


def container(spec, step):
    return spec["deploymentSpec"]["executors"][f"exec-{step}"]["container"]


def test_kubeflows_loader_and_schema_take_it(compile_to):
    from google.protobuf import json_format
    from kfp import components
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    (spec, platform), path = compile_to()

    loaded = components.load_component_from_file(str(path))
    assert loaded.name == "vlsearch-emoji"
    assert json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec()).schema_version == "2.1.0"
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for values in executors.values():
        json_format.ParseDict(values, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    assert set(executors) == set(spec["deploymentSpec"]["executors"])


def test_the_graph_is_the_local_one_and_needs_no_driver(compile_to):
    (spec, _), _ = compile_to()

    tasks = spec["root"]["dag"]["tasks"]
    assert {name: set(task.get("dependentTasks", [])) for name, task in tasks.items()} == STEPS
    for name, task in tasks.items():
        assert task["componentRef"]["name"] == f"comp-{name}"
        for artifact in task.get("inputs", {}).get("artifacts", {}).values():
            assert artifact["taskOutputArtifact"]["producerTask"] in STEPS[name]
        assert "lifecycle" not in container(spec, name)
        assert container(spec, name)["command"][-1] == "tfx_pipeline.runners.kubeflow_step"


def test_parameters_have_defaults(compile_to):
    (spec, _), _ = compile_to()

    found = spec["root"]["inputDefinitions"]["parameters"]
    defaults = {name: definition["defaultValue"] for name, definition in found.items()}
    assert all(definition["isOptional"] for definition in found.values())
    assert defaults.pop("resolved").startswith("not seen at submission, 20")
    assert json.loads(defaults.pop("lineage"))["experiment"] == "emoji"
    assert defaults == {
        "run_name": "",
        "data": "/vlsearch/build/demo/data",
        "steps": 0,
        "thresholds": "",
        "version": 0,
        "baseline": "current",
    }


def test_data_that_can_be_seen_are_settled_when_it_is_compiled(compile_to, emoji_folder, tmp_path):
    (spec, platform), _ = compile_to(
        "kubeflow.volume=null", f"data.folder={emoji_folder}", f"output={tmp_path / 'out'}"
    )

    found = spec["root"]["inputDefinitions"]["parameters"]
    resolved = json.loads(found["resolved"]["defaultValue"])
    assert resolved["folder"] == str(emoji_folder)
    assert len(resolved["files"]) == 7 == len(resolved["spans"])
    assert (found["version"]["defaultValue"], found["baseline"]["defaultValue"]) == (1, "")
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert not any(executors.values())


def test_resources_images_retries_volume_and_cache(compile_to):
    (spec, platform), _ = compile_to(
        "kubeflow.image=registry.example/vlsearch:1",
        "kubeflow.gpu_image=registry.example/vlsearch:1-gpu",
        "kubeflow.volume={claim: search-data, mount: /data}",
        "kubeflow.resources.Trainer={cpu: 8, memory: 32Gi, gpu: 2, node_selector: {pool: a100}}",
        "kubeflow.resources.default={cpu: 500m, memory: 4Gi}",
        "kubeflow.retries={count: 3, wait_s: 60}",
        "kubeflow.cache=false",
    )

    trainer = container(spec, "trainer")
    assert trainer["image"] == "registry.example/vlsearch:1-gpu"
    assert trainer["resources"]["resourceCpuLimit"] == "8"
    assert trainer["resources"]["memoryLimit"] == pytest.approx(32 * 2**30 / 1e9)
    assert trainer["resources"]["accelerator"] == {
        "type": "nvidia.com/gpu",
        "count": "2",
        "resourceType": "nvidia.com/gpu",
        "resourceCount": "2",
    }
    assert {"name": "VLSEARCH_NEEDS_GPU", "value": "2"} in trainer["env"]
    schema_gen = container(spec, "schema-gen")
    assert schema_gen["image"] == "registry.example/vlsearch:1"
    assert schema_gen["resources"]["cpuLimit"] == 0.5
    assert "accelerator" not in schema_gen["resources"]
    for task in spec["root"]["dag"]["tasks"].values():
        assert task["retryPolicy"]["maxRetryCount"] == 3
        assert task["retryPolicy"]["backoffDuration"] == "60s"
        assert not task.get("cachingOptions", {}).get("enableCache")
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors["exec-trainer"]["nodeSelector"] == {"labels": {"pool": "a100"}}
    [mount] = executors["exec-schema-gen"]["pvcMount"]
    assert (mount["constant"], mount["mountPath"]) == ("search-data", "/data")
    data = spec["root"]["inputDefinitions"]["parameters"]["data"]["defaultValue"]
    assert data == "/data/build/demo/data"


def test_relative_paths_lie_on_the_volume():
    from tfx_pipeline.runners.kubeflow import on_volume

    warm_start = "{from: weights/clip.safetensors}"
    config = ExperimentConfig.load(
        EMOJI,
        [
            "data.folder=s3://bucket/clicks",
            "output=runs/emoji",
            "vocabulary.pretrained=/etc/vocab.txt",
            f"train.warm_start={warm_start}",
            "kubeflow.volume.mount=/data",
            "kubeflow.volume.claim=c",
        ],
    )

    placed, seen = on_volume(config)

    assert not seen
    assert placed.output == "/data/runs/emoji"
    assert placed.data.folder == "s3://bucket/clicks"
    assert placed.vocabulary.pretrained == "/etc/vocab.txt"
    assert placed.train.warm_start.source == "/data/weights/clip.safetensors"
    assert on_volume(ExperimentConfig.load(EMOJI, ["kubeflow.volume=null"]))[1]


def test_where_a_step_runs_does_not_change_what_it_computes(compile_to):
    one, _ = compile_to()
    other, _ = compile_to("kubeflow.resources.default={cpu: 1}", "kubeflow.image=other:1")

    for name, task in one[0]["root"]["dag"]["tasks"].items():
        again = other[0]["root"]["dag"]["tasks"][name]
        assert task.get("inputs") == again.get("inputs")


def test_resources_of_an_unknown_step(compile_to):
    with pytest.raises(UserError) as caught:
        compile_to("kubeflow.resources={Trainr: {cpu: 1}}")
    assert str(caught.value).startswith(
        "kubeflow.resources: this pipeline has no step Trainr. Steps: ClickExampleGen, "
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kubeflow.imagee=a", "Unknown key 'kubeflow.imagee'"),
        ("kubeflow.resources={default: {memory: 8 GB}}", "kubeflow.resources.default.memory"),
        ("kubeflow.volume={claim: My_Claim}", "kubeflow.volume.claim"),
    ],
)
def test_configuration_errors_name_the_key(override, message):
    with pytest.raises(UserError) as caught:
        ExperimentConfig.load(EMOJI, [override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("emoji-", "vlsearch-emoji"), ("e_mo__ji_", "vlsearch-e-mo-ji"), ("a" * 100, None)],
)
def test_the_name_of_a_pipeline_is_one_of_the_clusters(name, wanted):
    from tfx_pipeline.runners.kubeflow import pipeline_name

    made = pipeline_name(ExperimentConfig.load(EMOJI, [f"name={name}"]))
    assert is_label(made)
    assert made == wanted or wanted is None


def test_a_spec_of_another_version_or_of_something_else(compile_to, tmp_path):
    from tfx_pipeline.runners.kubeflow_spec import read_spec

    _, path = compile_to()
    assert read_spec(path)["pipelineInfo"]["name"] == "vlsearch-emoji"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("value: 0.1.0", "value: 0.0.9"), encoding="utf-8")
    remedy = "Compile it: vlsearch kubeflow compile --config FILE --output pipeline.yaml."
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert str(caught.value) == (
        f"{path}: compiled by vlsearch 0.0.9, and this is vlsearch 0.1.0: steps and parameters "
        f"may differ. {remedy}"
    )
    path.write_text("- a\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert str(caught.value) == f"{path}: not a pipeline spec. {remedy}"
    with pytest.raises(UserError) as caught:
        read_spec(tmp_path / "none.yaml")
    assert str(caught.value) == f"{tmp_path / 'none.yaml'}: no such file. {remedy}"
