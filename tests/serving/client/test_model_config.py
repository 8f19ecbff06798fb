import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import wire
from serving.client import ServedModelConfig
from serving.client.model_config import fill_model_server_config
from serving.errors import ServingError

TEXT = """
model_config_list {
  config {
    name: "a" base_path: "/models/a" model_platform: "tensorflow"
    model_version_policy { specific { versions: 42 versions: 43 } }
    version_labels { key: "stable" value: 42 }
    version_labels { key: "canary" value: 43 }
  }
  config { name: "b" base_path: "/models/b" model_platform: "tensorflow" }
  config {
    name: "c" base_path: "/models/c" model_platform: "tensorflow"
    model_version_policy { all { } }
  }
}
"""
MODELS = [
    ServedModelConfig("a", "/models/a", [42, 43], {"stable": 42, "canary": 43}),
    ServedModelConfig("b", "/models/b"),
    ServedModelConfig("c", "/models/c", "all"),
]


def _real(models):
    message = wire.ModelServerConfig()
    fill_model_server_config(message, models)
    return model_server_config_pb2.ModelServerConfig.FromString(message.SerializeToString())


def _parse(text):
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


@pytest.mark.parametrize("models", [TEXT, MODELS], ids=["text", "dataclasses"])
def test_either_way_is_the_real_message(models):
    assert _real(models) == _parse(TEXT)


def test_all_that_a_models_config_may_say():
    text = """
    model_config_list { config {
      name: "m" base_path: "/m" model_platform: "tensorflow"
      model_version_policy { latest { num_versions: 2 } }
      logging_config {
        log_collector_config { type: "file" filename_prefix: "/logs/m" }
        sampling_config { sampling_rate: 0.1 }
      } } }"""
    assert _real(text) == _parse(text)


def test_no_models():
    assert _real([]).WhichOneof("config") == "model_config_list"
    assert _real("model_config_list {}").WhichOneof("config") == "model_config_list"


def test_text_that_is_none():
    with pytest.raises(ServingError, match=r"no ModelServerConfig: 1:\d+ : .*nane"):
        _real('model_config_list { config { nane: "m" } }')


@pytest.mark.parametrize("versions", ["latest", [], 3])
def test_versions_that_are_none(versions):
    with pytest.raises(ServingError, match="versions of model m are numbers, 'all', or None"):
        _real([ServedModelConfig("m", "/m", versions)])
