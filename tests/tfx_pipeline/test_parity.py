"""One query, three ways: normalised by Beam, in training, in the served signature."""

import numpy as np
import pytest
import tensorflow as tf

from serving.client import PredictClient
from serving.model_server.options import ServerOptions
from serving.model_server.server import ModelServer
from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.training.transform import transform_functions
from vl_models import features
from vl_models.export import export_members
from vl_models.models.clip_config import CLIPConfig
from vl_models.models.registry import build_model
from vl_models.text.normalize import normalize_batch
from vl_models.text.vocabulary import VOCABULARY_FILE, read_vocabulary
from vl_models.text.wordpiece import WordPieceTokenizer

pytestmark = pytest.mark.slow

LENGTH = ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml").model.max_length
RAW = [
    "  Red　HEART ",
    "ＡＢＣ",
    "生日蛋糕",
    "Café ﬁre",
    "smiling face with sunglasses",
    "",
    "İstanbul",
]


@pytest.fixture(scope="module")
def graph(tiny_run):
    """The Transform graph that the tiny run trained through."""
    [folder] = (tiny_run.output / "pipeline").glob("TextTransform/transform_graph/*")
    return folder


@pytest.fixture(scope="module")
def tokenizer(graph):
    return WordPieceTokenizer(read_vocabulary(graph / VOCABULARY_FILE), LENGTH)


def test_token_ids_are_the_same_in_beam_in_training_and_in_the_signature(graph, tokenizer):
    text_fn, _ = transform_functions(str(graph), tokenizer)

    in_training = text_fn(tf.constant(normalize_batch(RAW)))  # Examples hold normalised text
    in_signature = tokenizer.tokenize(tf.constant(RAW))  # people type raw text

    np.testing.assert_array_equal(in_training["token_ids"], in_signature["token_ids"])
    np.testing.assert_array_equal(in_training["text_mask"], in_signature["text_mask"])
    assert len({tuple(row) for row in in_training["token_ids"].numpy()}) == len(RAW)


def test_the_text_function_works_inside_an_input_pipeline(graph, tokenizer):
    text_fn, weight_fn = transform_functions(str(graph), tokenizer)
    texts = normalize_batch(RAW)

    dataset = tf.data.Dataset.from_tensor_slices((texts, [1.0] * len(texts))).batch(3)
    batches = list(dataset.map(lambda text, weight: (text_fn(text), weight_fn(weight))))

    ids = np.concatenate([batch["token_ids"] for batch, _ in batches])
    np.testing.assert_array_equal(ids, tokenizer.tokenize(tf.constant(texts))["token_ids"])


def test_click_weights_are_scaled_to_mean_one_over_the_train_split(graph, tokenizer, tiny_run):
    _, weight_fn = transform_functions(str(graph), tokenizer)
    [examples] = (tiny_run.output / "pipeline").glob("ClickExampleGen/examples/*")
    files = sorted(map(str, examples.glob("Split-train/*.gz")))
    weights: list[float] = []
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        parsed = tf.train.Example.FromString(record).features.feature
        weights.extend(parsed[features.QUERY_WEIGHT].float_list.value)

    scaled = weight_fn(tf.constant(weights, tf.float32)).numpy()

    assert scaled.mean() == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(scaled, np.array(weights) / np.mean(weights), rtol=1e-4)


def test_the_served_embedding_is_that_of_the_model_in_memory(graph, tokenizer, tmp_path):
    config = CLIPConfig.model_validate(
        {
            "system": "clip",
            "image_size": 32,
            "max_length": LENGTH,
            "vocabulary_size": tokenizer.vocabulary_size,
            "image": {"kind": "vit", "width": 32, "depth": 1, "heads": 2},
            "text": {"kind": "transformer", "width": 32, "depth": 1, "heads": 2},
        }
    )
    model = build_model(config)
    towers = export_members(model, tokenizer, tmp_path / "export")
    (tmp_path / "models" / "text_tower").mkdir(parents=True)
    towers["text_tower"].rename(tmp_path / "models" / "text_tower" / "1")
    text_fn, _ = transform_functions(str(graph), tokenizer)
    expected = model.encode_text(text_fn(tf.constant(normalize_batch(RAW)))).numpy()

    options = ServerOptions(
        port=None,
        rest_api_port=0,
        model_name="text_tower",
        model_base_path=str(tmp_path / "models" / "text_tower"),
    )
    with ModelServer(options) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        served = client.predict("text_tower", {"query": RAW})["embedding"]

    np.testing.assert_allclose(served, expected, atol=1e-5)
    # Different ids would show: no two of these texts share an embedding.
    distances = np.linalg.norm(expected[:, None] - expected[None], axis=-1)
    assert distances[~np.eye(len(RAW), dtype=bool)].min() > 1e-3
