import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from serving.errors import ServingError
from serving.manifests import Settings, generate
from serving.manifests.storage import parse_storage
from serving.model_server.batching.config import read_batching_parameters
from serving.model_server.flags import Flags
from serving.model_server.management.config import check_config, read_config
from serving.model_server.monitoring.config import MonitoringConfig, read_monitoring_config
from serving.publish import roll_back
from tests.serving.manifests.kustomize import build

KUBERNETES = ("1.30", kubernetes_validate.latest_version())
# Settings that change which objects there are, or what they look like.
CASES = {
    "volume": {},
    "path in a volume": {"storage": "pvc:releases/search/emoji", "namespace": "search"},
    "other mount path": {"mount_path": "/models"},
    "object store": {"storage": "s3://bucket/releases", "secret": "store-keys"},
    "workload identity": {"storage": "gs://bucket", "service_account": "reader"},
    # Kustomize reads a bare y as a bool.
    "other names": {"name": "search", "namespace": "y", "canary": 10},
    "odd sizes": {"cpu": "1500m", "memory": "512Mi", "gpus": 4, "replicas": 1, "max_replicas": 1},
}


def container(deployment):
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_valid_for_kubernetes(manifests, case):
    folder = manifests(**CASES[case])
    for overlay in ("cpu", "gpu", "kserve"):
        documents = build(folder / "overlays" / overlay)
        for document in documents:
            if document["kind"] == "InferenceService":
                continue  # tests/serving/manifests/test_kserve.py
            for version in KUBERNETES:
                kubernetes_validate.validate(document, version, strict=True)
        namespaces = {document["metadata"].get("namespace") for document in documents}
        assert namespaces == {CASES[case].get("namespace")}


def test_every_file_is_named_by_a_kustomization(manifests):
    for case in CASES.values():
        folder = manifests(**case)
        named = {folder / "generated.json"}
        for path in folder.rglob("kustomization.yaml"):
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            names = [*content.get("resources", []), *content.get("components", [])]
            for generator in content.get("configMapGenerator", []):
                names += generator["files"]
            named |= {path, *((path.parent / name).resolve() for name in names)}
        files = {path for path in folder.rglob("*") if path.is_file()}
        assert files <= named
        assert all(path.exists() for path in named)
        assert all((path / "kustomization.yaml").exists() for path in named if path.is_dir())


@pytest.mark.parametrize("case", CASES)
def test_kubectl_makes_the_same_objects(manifests, case):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    folder = manifests(**CASES[case])
    for overlay in ("cpu", "gpu", "kserve"):
        command = ["kubectl", "kustomize", str(folder / "overlays" / overlay)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        text, hashes = re.subn(r"(-config|-models)-[a-z0-9]{10}\b", r"\1", result.stdout)
        expected = build(folder / "overlays" / overlay)
        assert _sorted(yaml.safe_load_all(text)) == _sorted(expected)
        # In the name of each ConfigMap and where the Deployment mounts it, so that another content
        # makes new pods. A models.config that running servers poll keeps its name.
        pinned = "s3://" in str(CASES[case]) or "gs://" in str(CASES[case])
        assert hashes == (0 if overlay == "kserve" else 4 if pinned else 2)


def test_the_folder_as_a_whole_serves_on_cpus(manifests):
    folder = manifests()
    assert build(folder) == build(folder / "overlays/cpu")


def _sorted(documents):
    return sorted(documents, key=lambda document: (document["kind"], document["metadata"]["name"]))


@pytest.mark.parametrize("name", ["vlsearch-serving", "search"])
def test_labels_and_names_find_the_pods(deployed, name):
    objects = deployed(name=name)
    assert objects["Deployment"]["metadata"]["labels"]["app.kubernetes.io/instance"] == name
    template = objects["Deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    selectors = [
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        *(
            constraint["labelSelector"]["matchLabels"]
            for constraint in template["spec"]["topologySpreadConstraints"]
        ),
    ]
    assert all(selector.items() <= labels for selector in selectors)
    assert template["spec"]["serviceAccountName"] == objects["ServiceAccount"]["metadata"]["name"]
    assert objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": objects["Deployment"]["metadata"]["name"],
    }
    ports = {
        port["name"]: port["containerPort"] for port in container(objects["Deployment"])["ports"]
    }
    for port in objects["Service"]["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]


def test_the_pod_can_do_nothing_but_serve(deployed):
    for storage in ("pvc:releases", "s3://bucket"):
        objects = deployed("cpu", storage)
        pod = objects["Deployment"]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert objects["ServiceAccount"]["metadata"]["name"] == pod["serviceAccountName"]
        containers = pod["containers"] + pod.get("initContainers", [])
        assert len(containers) == (1 if storage.startswith("pvc") else 2)
        for one in containers:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            for mount in one["volumeMounts"]:
                assert mount.get("readOnly") or "emptyDir" in volumes[mount["name"]]


def test_clients_have_left_before_the_server_ends(deployed):
    pod = deployed()["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [channel] = [a for a in container["args"] if a.startswith("--grpc_channel_arguments=")]
    age, grace = (int(part.split("=")[-1]) / 1000 for part in channel.split(","))
    sleep, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert 1.1 * age + grace < int(seconds) < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
@pytest.mark.parametrize("case", CASES)
def test_arguments_are_flags_of_the_model_server(deployed, case, overlay):
    """And of TensorFlow Serving: none is an extension of ours."""
    arguments = container(deployed(overlay, **CASES[case])["Deployment"])["args"]
    parsed = Flags().parse(arguments)
    assert parsed.ok and not parsed.unknown
    assert len(parsed.values) == len(arguments)
    assert not [f.name for f in Flags().flags if f.extension and f.name in parsed.values]


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "kserve"])
def test_configuration_files_are_what_the_model_server_reads(deployed, overlay, tmp_path):
    files = deployed(overlay, mount_path="/models")["files"]
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    models = {}
    for name in files.keys() - {"batching.pbtxt", "monitoring.pbtxt"}:
        config = read_config(tmp_path / name)
        check_config(config)
        models |= {m.name: m.base_path for m in config.model_config_list.config}
    assert models == (
        {"text_tower": "/mnt/models", "image_tower": "/mnt/models"}
        if overlay == "kserve"
        else {"text_tower": "/models/text_tower", "image_tower": "/models/image_tower"}
    )
    batching = read_batching_parameters(tmp_path / "batching.pbtxt")
    assert batching.allowed_batch_sizes[-1] == batching.max_execution_batch_size
    assert batching.max_batch_size >= 1024 and batching.enable_large_batch_splitting
    assert batching.num_batch_threads == 2
    assert read_monitoring_config(tmp_path / "monitoring.pbtxt") == MonitoringConfig(
        enable=True, path="/monitoring/prometheus/metrics"
    )


def test_a_volume_is_mounted_where_the_release_was_published(deployed, plain_root):
    objects = deployed("cpu", "pvc:releases/search")
    [mount, *_] = container(objects["Deployment"])["volumeMounts"]
    assert mount == {
        "name": "release",
        "mountPath": str(plain_root),
        "readOnly": True,
        "subPath": "search",
    }
    arguments = container(objects["Deployment"])["args"]
    assert f"--model_config_file={plain_root}/models.config" in arguments
    assert "--model_config_file_poll_wait_seconds=5" in arguments


def test_a_copy_of_a_root_is_mounted_where_the_original_was_published(
    deployed, plain_root, tmp_path
):
    shutil.copytree(plain_root, tmp_path / "copy")
    [mount, *_] = container(deployed(root=tmp_path / "copy")["Deployment"])["volumeMounts"]
    assert mount["mountPath"] == str(plain_root)


def test_another_mount_path_has_a_models_config_of_its_own(deployed, plain_root):
    objects = deployed(mount_path="/models")
    assert (
        "--model_config_file=/etc/vlsearch/models/models.config"
        in container(objects["Deployment"])["args"]
    )
    mounts = {m["name"]: m["mountPath"] for m in container(objects["Deployment"])["volumeMounts"]}
    assert mounts["release"] == "/models" and mounts["models"] == "/etc/vlsearch/models"
    # The path it was published under needs none.
    assert deployed(mount_path=str(plain_root))["files"].keys() == {
        "batching.pbtxt",
        "monitoring.pbtxt",
    }


def test_an_object_store_is_copied_before_the_server_starts(deployed):
    objects = deployed("cpu", "s3://bucket/releases/", secret="store-keys")
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    [copy] = pod["initContainers"]
    assert copy["args"] == [
        "copy",
        ":s3:bucket/releases",
        "/models",
        "--filter=+ /image_tower/1/**",
        "--filter=+ /image_tower/2/**",
        "--filter=+ /text_tower/1/**",
        "--filter=+ /text_tower/2/**",
        "--filter=- **",
        "--config=/tmp/rclone.conf",
    ]
    assert copy["envFrom"] == [{"secretRef": {"name": "store-keys"}}]
    assert "models.config" in objects["files"]


def test_a_rolled_back_release_is_the_one_that_is_served(deployed, plain_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(plain_root, root)
    roll_back(root)
    text = deployed("cpu", "gs://bucket", root=root)["files"]["models.config"]
    assert "versions: 1 }" in text and "versions: 2" not in text


def test_gpu_pods_ask_for_gpus_and_the_image_with_cuda(deployed):
    deployment = deployed("gpu", gpus=2)["Deployment"]
    assert container(deployment)["image"] == "tensorflow/serving:2.19.1-gpu"
    assert container(deployment)["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"memory": "4Gi", "nvidia.com/gpu": 2},
    }
    [toleration] = deployment["spec"]["template"]["spec"]["tolerations"]
    assert toleration["key"] == "nvidia.com/gpu"


def test_the_image_speaks_the_api_that_is_installed():
    from importlib import metadata

    image = Settings(storage=parse_storage("pvc:releases")).image
    assert image == f"tensorflow/serving:{metadata.version('tensorflow-serving-api')}"


def test_what_is_no_release_is_an_error(tmp_path, plain_root):
    settings = Settings(storage=parse_storage("pvc:releases"))
    with pytest.raises(ServingError, match=f"^{tmp_path} is not a release root: it has no rel"):
        generate(tmp_path, settings)
    root = tmp_path / "root"
    shutil.copytree(plain_root, root)
    (root / "models.config").write_text("oops", encoding="utf-8")
    with pytest.raises(ServingError, match=r"models\.config is no ModelServerConfig: 1:1 :"):
        generate(root, settings)
    text = plain_root.joinpath("models.config").read_text(encoding="utf-8")
    (root / "models.config").write_text(text.replace(f"{plain_root}/i", "/other/i"))
    with pytest.raises(ServingError, match=r"must name models in one folder\. Received: \['/other"):
        generate(root, settings)
    (root / "models.config").unlink()
    with pytest.raises(ServingError, match=r"has a release\.json but no models\.config"):
        generate(root, settings)


def test_a_root_that_was_published_where_nothing_can_be_mounted(tmp_path, plain_root):
    root = tmp_path / "root"
    shutil.copytree(plain_root, root)
    text = (root / "models.config").read_text(encoding="utf-8")
    (root / "models.config").write_text(text.replace(str(plain_root), "/usr/releases"))
    with pytest.raises(
        ServingError,
        match=r"^No volume can be mounted at '/usr/releases' in a container\. The release was "
        r"published there.*Give --mount-path /models",
    ):
        generate(root, Settings(storage=parse_storage("pvc:releases")))
    config = generate(root, Settings(storage=parse_storage("pvc:r"), mount_path="/models"))
    assert "/usr/releases" not in "".join(config.values())
