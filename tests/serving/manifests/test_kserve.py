import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from serving.manifests import Settings, generate
from serving.manifests.storage import parse_storage
from serving.model_server.flags import Flags
from serving.publish import roll_back
from tests.serving.manifests.kustomize import build

SCHEMA = json.loads(
    Path(__file__).with_name("inference_service_schema.json").read_text(encoding="utf-8")
)
# Of KServe's own TensorFlow runtime; what the InferenceService gives is put behind them.
RUNTIME = [
    "--model_name=vlsearch-serving-text-tower",
    "--port=9000",
    "--rest_api_port=8080",
    "--model_base_path=/mnt/models",
    "--rest_api_timeout_in_ms=60000",
]


@pytest.fixture
def on_kserve(manifests):
    def on_kserve(*arguments, **settings):
        documents = build(manifests(*arguments, **settings) / "overlays/kserve")
        services = [d for d in documents if d["kind"] == "InferenceService"]
        [config] = [d for d in documents if d["kind"] == "ConfigMap"]
        assert len(documents) == len(services) + 1
        return {service["metadata"]["name"]: service for service in services}, config

    return on_kserve


@pytest.mark.parametrize(
    ("storage", "settings"),
    [
        ("pvc:releases/search", {"canary": 0}),
        ("s3://bucket/releases", {"canary": 100, "service_account": "reader"}),
        ("gs://bucket", {"namespace": "search"}),
    ],
)
def test_inference_services_fit_the_schema(on_kserve, storage, settings):
    services, _ = on_kserve(storage, **settings)
    assert services.keys() == {"vlsearch-serving-text-tower", "vlsearch-serving-image-tower"}
    for service in services.values():
        jsonschema.validate(service, SCHEMA)


def test_what_kubernetes_knows_of_a_predictor_is_valid_there(on_kserve):
    """The model is a container and the predictor a pod, once KServe's own keys are taken out."""
    services, _ = on_kserve(service_account="reader")
    for service in services.values():
        predictor = dict(service["spec"]["predictor"])
        model = dict(predictor.pop("model"))
        for key in ("modelFormat", "runtime", "storageUri"):
            del model[key]
        for key in ("minReplicas", "maxReplicas"):
            del predictor[key]
        spec = predictor | {"containers": [model | {"name": "kserve-container"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        kubernetes_validate.validate(pod, "1.30", strict=True)
        context = model["securityContext"]
        assert context["runAsNonRoot"] and context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False


def test_each_tower_is_served_from_its_folder_under_its_name(on_kserve):
    services, config = on_kserve("pvc:releases/search")
    for tower in ("text_tower", "image_tower"):
        service = services[f"vlsearch-serving-{tower.replace('_', '-')}"]
        predictor = service["spec"]["predictor"]
        assert predictor["model"]["storageUri"] == f"pvc://releases/search/{tower}"
        [volume] = predictor["volumes"]
        assert volume["configMap"]["name"] == config["metadata"]["name"]
        [mount] = predictor["model"]["volumeMounts"]
        parsed = Flags().parse([*RUNTIME, *predictor["model"]["args"]])
        assert parsed.ok and not parsed.unknown
        named = {v for k, v in parsed.values.items() if k.endswith("_file")}
        assert named == {
            f"{mount['mountPath']}/{name}"
            for name in (f"{tower}.models.config", "batching.pbtxt", "monitoring.pbtxt")
        }
        assert {path.rpartition("/")[2] for path in named} <= config["data"].keys()


def test_a_release_has_a_config_map_of_its_own_that_never_changes(on_kserve, plain_root, tmp_path):
    import shutil

    root = tmp_path / "root"
    shutil.copytree(plain_root, root)
    _, second = on_kserve(root=root)
    assert second["immutable"] is True
    assert second["metadata"]["name"].startswith("vlsearch-serving-release-2-")
    # Other content under the same release: another name, as the old one cannot change.
    _, larger = on_kserve(root=root, cpu="4")
    assert larger["metadata"]["name"] != second["metadata"]["name"]
    assert on_kserve(root=root) == on_kserve(root=root)

    roll_back(root)
    services, first = on_kserve(root=root)
    assert first["metadata"]["name"].startswith("vlsearch-serving-release-1-")
    assert "versions: 1 }" in first["data"]["text_tower.models.config"]
    for service in services.values():
        assert service["metadata"]["labels"]["app.kubernetes.io/version"] == "1"


def test_a_canary_gets_its_share_of_the_traffic(on_kserve):
    services, _ = on_kserve()
    assert all("canaryTrafficPercent" not in s["spec"]["predictor"] for s in services.values())
    for share in (0, 10, 100):
        services, _ = on_kserve(canary=share)
        for service in services.values():
            assert service["spec"]["predictor"]["canaryTrafficPercent"] == share


def test_the_schema_finds_what_is_wrong(on_kserve):
    services, _ = on_kserve(canary=10)
    service = services["vlsearch-serving-text-tower"]
    service["spec"]["predictor"]["canaryTrafficPercent"] = 101
    with pytest.raises(jsonschema.ValidationError, match="101 is greater than the maximum of 100"):
        jsonschema.validate(service, SCHEMA)
    service["spec"]["predictor"] = {"canaryTrafficPercents": 10, "model": {}}
    with pytest.raises(jsonschema.ValidationError, match="canaryTrafficPercents"):
        jsonschema.validate(service, SCHEMA)


def test_no_file_holds_a_secret(plain_root):
    settings = Settings(storage=parse_storage("s3://bucket"), secret="store-keys")
    texts = "".join(generate(plain_root, settings).values())
    assert "secretRef" in texts and "store-keys" in texts
    assert "kind: Secret" not in texts and "stringData" not in texts
