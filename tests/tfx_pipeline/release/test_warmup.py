"""Exported towers with all their signatures: warmed up, served, and asked over gRPC."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.client import PredictClient
from serving.model_server.options import ServerOptions
from serving.model_server.server import ModelServer
from serving.warmup import WARMUP_FILE
from tests.vl_models.grid_reranker import make_grid_reranker
from tests.vl_models.test_export import TOKENIZER, images, make_model
from tfx_pipeline.release.signatures import read_signatures
from tfx_pipeline.release.warmup import write_warmup_requests
from vl_models import features
from vl_models.errors import UserError
from vl_models.export import export_members
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.zero_shot import build_classifier
from vl_models.zero_shot_config import ZeroShotConfig

TOWER = {"width": 8, "depth": 1, "heads": 1}


def write_examples(folder, queries=("red cat",)):
    folder.mkdir()
    _, encoded = images((16, 16), (20, 30), (16, 16), (9, 8), (16, 16))
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
        for number, image in enumerate(encoded):
            values = {
                features.IMAGE_ID: [b"%d" % number],
                features.IMAGE_ENCODED: [image],
                features.QUERY_TEXT: [text.encode() for text in queries],
            }
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    return str(folder / "data_tfrecord-*")


def warmed(tower):
    """Signature and number of rows of each warm-up request."""
    found = []
    for record in tf.data.TFRecordDataset(str(tower / WARMUP_FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        tensor, *others = request.inputs.values()
        assert all(tensor.tensor_shape.dim[0] == other.tensor_shape.dim[0] for other in others)
        assert request.model_spec.name == tower.name
        found.append((request.model_spec.signature_name, tensor.tensor_shape.dim[0].size))
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The towers of a tiny CLIP with three classes, and a client of a server of them."""
    root = tmp_path_factory.mktemp("served")
    model = make_model()
    config = ZeroShotConfig(top_k=2)
    classifier = build_classifier(model, TOKENIZER, config, ["cat", "red", "猫"])
    towers = export_members(model, TOKENIZER, root / "towers", zero_shot=classifier)
    write_warmup_requests(root / "towers", write_examples(root / "examples"))
    shutil.copytree(towers["image_tower"], root / "models" / "image_tower" / "1")
    options = ServerOptions(
        port=None,
        rest_api_port=0,
        model_name="image_tower",
        model_base_path=str(root / "models" / "image_tower"),
    )
    with ModelServer(options) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.wait_until_ready()
        yield model, classifier, towers, client


def test_every_signature_but_the_twin_is_warmed_up(served):
    _, _, towers, _ = served
    assert warmed(towers["text_tower"]) == [("encode_text", 1), ("encode_text", 4)]
    assert warmed(towers["image_tower"]) == [
        ("classify_zero_shot", 1),
        ("classify_zero_shot", 4),
        ("encode_image", 1),
        ("encode_image", 4),
    ]


def test_a_real_server_classifies(served):
    model, classifier, _, client = served
    pixels, encoded = images((16, 16), (16, 16), (16, 16))
    answer = client.predict(
        "image_tower", {"image_bytes": encoded}, signature_name="classify_zero_shot"
    )
    expected = classifier.classify(model.encode_image({"image": np.stack(pixels)}))
    assert answer["classes"].tolist() == expected["classes"].numpy().tolist()
    np.testing.assert_allclose(answer["scores"], expected["scores"], rtol=1e-3)
    assert "classify_zero_shot" in client.model_metadata("image_tower").signatures


def test_signatures_are_read_without_loading(served, tmp_path):
    _, _, towers, _ = served
    classify = read_signatures(towers["image_tower"])["classify_zero_shot"]
    assert classify.inputs == ("image_bytes",)
    assert classify.widths == {"classes": 2, "scores": 2}
    assert read_signatures(towers["text_tower"])["encode_text"].widths == {"embedding": 4}
    assert read_signatures(tmp_path) == {}


@pytest.mark.slow
def test_prefixes_are_warmed_up_and_attention_is_not(tmp_path):
    config = {
        "system": "prefix_conditioning",
        "embedding_dim": 4,
        "image": {"kind": "vit", "patch_size": 8, **TOWER},
        "text": {"kind": "transformer", **TOWER},
        "image_size": 16,
        "max_length": 6,
        "vocabulary_size": 8,
        "sources": ["queries", "labels"],
    }
    towers = export_members(
        build_model(model_config_from_dict(config)), TOKENIZER, tmp_path / "towers"
    )
    write_warmup_requests(tmp_path / "towers", write_examples(tmp_path / "examples"))
    names = ("encode_text", "encode_text_labels", "encode_text_queries")
    assert warmed(towers["text_tower"]) == [(name, size) for name in names for size in (1, 4)]


def test_images_without_queries_warm_the_image_tower_up(tmp_path):
    config = {
        "system": "moco",
        "embedding_dim": 4,
        "image": {"kind": "vit", "patch_size": 8, **TOWER},
        "image_size": 16,
        "queue_size": 8,
    }
    towers = export_members(
        build_model(model_config_from_dict(config)), TOKENIZER, tmp_path / "towers"
    )
    write_warmup_requests(tmp_path / "towers", write_examples(tmp_path / "examples", queries=()))
    assert warmed(towers["image_tower"]) == [("encode_image", 1), ("encode_image", 4)]


def test_tokens_of_images_are_the_members_own(tmp_path):
    folder = export_members(make_grid_reranker(), TOKENIZER, tmp_path / "models")["reranker"]
    write_warmup_requests(tmp_path / "models", write_examples(tmp_path / "examples"))
    names = ("encode_image_tokens", "score", "score_tokens")
    assert warmed(folder) == [(name, size) for name in names for size in (1, 4)]
    [*_, last] = tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).as_numpy_iterator()
    tokens = prediction_log_pb2.PredictionLog.FromString(last).predict_log.request.inputs["tokens"]
    pixels, _ = images((16, 16))
    quarter = pixels[0][:8, :8].mean((0, 1)) / 255
    assert tf.make_ndarray(tokens).shape == (4, 4, 3)
    np.testing.assert_allclose(tf.make_ndarray(tokens)[0, 0], quarter, atol=1e-3)


def test_an_input_without_samples_is_refused_not_left_cold(tmp_path):
    module = tf.Module()
    function = tf.function(lambda question: {"answer": question})
    signature = function.get_concrete_function(tf.TensorSpec([None], tf.string, name="question"))
    tf.saved_model.save(module, str(tmp_path / "models" / "own"), {"ask": signature})
    pattern = write_examples(tmp_path / "examples")
    with pytest.raises(UserError, match=r"own: there are no samples for the input\(s\) question"):
        write_warmup_requests(tmp_path / "models", pattern)
