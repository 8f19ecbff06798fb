"""A fusion model that nobody has heard of goes all the way from training to a served release."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.publish import publish_release
from serving.release import Release, model_folders
from serving.search import embedded_server
from serving.warmup import WARMUP_FILE
from tests.harness import two_replicas
from tests.tfx_pipeline.evaluation.conftest import png, write_gallery, write_relevance
from tests.vl_models.training import tiny
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.metric_keys import measure_names
from tfx_pipeline.evaluation.write import write_evaluation
from tfx_pipeline.release.model_card import render_model_card
from tfx_pipeline.release.signatures import read_signatures
from tfx_pipeline.release.validation import validate_serving
from tfx_pipeline.release.warmup import write_warmup_requests
from vl_models import features
from vl_models.distribution import global_mean
from vl_models.export import export_members
from vl_models.input.config import InputConfig, InputFacts, SourceConfig, SourceSpec
from vl_models.input.source import RecordSource
from vl_models.layers.patch_embedding import PatchEmbedding
from vl_models.layers.transformer_block import TransformerBlock
from vl_models.models.base import VisionLanguageModel
from vl_models.models.base_config import ModelConfig
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer
from vl_models.training.checkpoint import read_weights
from vl_models.training.config import TrainConfig
from vl_models.training.trainer import Trainer

SIZE, WIDTH = 8, 16
COLORS = {"red": (250, 10, 10), "green": (10, 250, 10), "蓝": (10, 10, 250), "grey": (99, 99, 99)}
TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *COLORS], max_length=4)


class ThrowAway(VisionLanguageModel):
    """Patches and tokens through one joint block; learns which pairs of a batch belong together."""

    inputs = ("image", "token_ids")
    loss_names = ("matching",)

    def __init__(self):
        super().__init__(ModelConfig(system="throw_away", image_size=SIZE, max_length=4))
        self.patches = PatchEmbedding(patch_size=4, width=WIDTH, name="patches")
        self.tokens = keras.layers.Embedding(TOKENIZER.vocabulary_size, WIDTH, name="tokens")
        self.block = TransformerBlock(heads=2, name="block")
        self.head = keras.layers.Dense(1, name="head")

    def build(self):
        ids = tf.zeros([1, TOKENIZER.max_length], tf.int32)
        image = tf.zeros([1, SIZE, SIZE, 3], tf.uint8)
        self.score_pairs({"image": image, "token_ids": ids, "text_mask": ids == 0})

    def score_pairs(self, batch):
        patches = self.patches(tf.cast(batch["image"], tf.float32) / 127.5 - 1.0)
        joint = tf.concat([patches, self.tokens(batch["token_ids"])], axis=1)
        mask = tf.concat([tf.ones(tf.shape(patches)[:2], tf.bool), batch["text_mask"]], axis=1)
        return self.head(self.block(joint, key_mask=mask)[:, 0])[:, 0]

    def encode(self, batch, training):
        turned = {key: tf.roll(batch[key], 1, axis=0) for key in ("token_ids", "text_mask")}
        other = tf.reduce_any(turned["token_ids"] != batch["token_ids"], axis=1)
        return {
            "right": self.score_pairs(batch),
            "wrong": self.score_pairs({**batch, **turned}),
            "other": tf.cast(other, tf.float32),
        }

    def own_losses(self, batch, outputs):
        wrong = outputs["other"] * tf.nn.softplus(outputs["wrong"])
        return {"matching": global_mean(tf.nn.softplus(-outputs["right"]) + wrong)}


def record(number):
    """One of four plain images with its name for a query."""
    name, color = list(COLORS.items())[number % len(COLORS)]
    return {
        features.IMAGE_ENCODED: [png(color)],
        features.QUERY_TEXT: [name.encode()],
        features.QUERY_WEIGHT: [1.0],
    }


def make_trainer(run_dir, pattern, strategy, functions=None, **changes):
    settings = {
        "global_batch_size": 8,
        "steps": 60,
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "checkpoint_every": 20,
        "log_every": 20,
        **changes,
    }
    facts = InputFacts(ThrowAway.inputs, image_sizes={"image": SIZE})
    spec = SourceSpec(SourceConfig(name="clicks"), InputConfig(augment=False), facts)
    source = RecordSource(spec, [pattern], TOKENIZER.tokenize)
    return Trainer(
        ThrowAway, TrainConfig.model_validate(settings), run_dir, strategy, [source], functions
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Examples, gallery and clicks of four plain colours."""
    root = tmp_path_factory.mktemp("store")
    pattern = tiny.write_records(root / "examples", per_shard=8, features=record)
    write_gallery(root / "gallery", {name: png(color) for name, color in COLORS.items()})
    rows = [(name, name, 1, 1.0, "test", "en") for name in COLORS]
    write_relevance(root / "relevance.parquet", rows)
    return {"pattern": pattern, "gallery": root / "gallery", "clicks": root / "relevance.parquet"}


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """Trained on two replicas, resumed from the middle, and exported with warm-up."""
    root = tmp_path_factory.mktemp("trained")
    strategy = two_replicas()
    whole = make_trainer(root / "whole", store["pattern"], strategy)
    whole.fit()

    class Killed(Exception):
        pass

    def kill(step, model):
        raise Killed

    hooks = [{"name": "kill", "every": 25}]  # after the checkpoint of step 20
    with pytest.raises(Killed):
        make_trainer(root / "cut", store["pattern"], strategy, {"kill": kill}, hooks=hooks).fit()
    resumed = make_trainer(root / "cut", store["pattern"], strategy)
    resumed.fit()
    exported = export_members(resumed.model, TOKENIZER, root / "export", experiment_yaml="a: 1\n")
    write_warmup_requests(root / "export", store["pattern"])
    return root, resumed.model, exported


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_weights(trained):
    root, _, _ = trained
    whole, cut = read_weights(root / "whole"), read_weights(root / "cut")
    assert whole.keys() == cut.keys()
    for path in whole:
        np.testing.assert_array_equal(whole[path], cut[path], err_msg=path)


@pytest.mark.slow
def test_it_is_exported_as_a_reranker_alone(trained):
    _, _, exported = trained
    assert list(exported) == ["reranker"]
    signature = read_signatures(exported["reranker"])["score"]
    assert signature.inputs == ("image_bytes", "query")


@pytest.mark.slow
def test_both_its_inputs_are_warmed_up(trained):
    _, _, exported = trained
    records = tf.data.TFRecordDataset(str(exported["reranker"] / WARMUP_FILE))
    logs = map(prediction_log_pb2.PredictionLog.FromString, records.as_numpy_iterator())
    requests = [log.predict_log.request for log in logs]
    assert [request.model_spec.signature_name for request in requests] == ["score", "score"]
    for request, size in zip(requests, (1, 4)):
        sizes = {name: tensor.tensor_shape.dim[0].size for name, tensor in request.inputs.items()}
        assert sizes == {"image_bytes": size, "query": size}


@pytest.fixture(scope="module")
def released(trained, store, tmp_path_factory):
    """A release root with the validated reranker."""
    root, _, _ = trained
    problem = validate_serving(
        models_dir=root / "export",
        index_dir=None,
        gallery_dir=store["gallery"],
        relevance_path=store["clicks"],
        staging_dir=root / "staged",
        queries=4,
    )
    assert problem is None
    models = model_folders(root / "export")
    serving = tmp_path_factory.mktemp("serving")
    publish_release(
        serving,
        1,
        models,
        None,
        weights=root / "export" / "weights",
        model_card=render_model_card(
            name="throw-away", version=1, models=models, experiment="a: 1", spans=None
        ),
    )
    return serving


@pytest.mark.slow
def test_it_is_served_as_the_model_scores(trained, released):
    _, model, _ = trained
    release = Release.load(released)
    assert (release.models, release.index, release.weights) == ({"reranker": 1}, None, 1)
    assert json.loads((released / "release.json").read_text())["weights"] == 1
    card = (released / "reranker/1/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "- `reranker`, which reads a query and an image together" in card
    assert "weights.safetensors" in (released / "weights/1/MODEL_CARD.md").read_text()
    queries = list(COLORS)
    images = [png(color) for color in reversed(COLORS.values())]
    with embedded_server(released) as client:
        served = client.predict("reranker", {"query": queries, "image_bytes": images})["score"]
        statuses = client.model_status("reranker")
    assert [status.state for status in statuses] == ["AVAILABLE"]
    pixels = np.stack([np.full((SIZE, SIZE, 3), COLORS[name], np.uint8) for name in COLORS][::-1])
    batch = {"image": pixels, **TOKENIZER.tokenize(tf.constant(queries))}
    np.testing.assert_allclose(served, model.score_pairs(batch), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_it_is_evaluated(released, store, tmp_path):
    members = {"reranker": released / "reranker" / "1"}
    config = EvaluationConfig(
        ks=[1, 2], bootstrap={"samples": 20}, thresholds={"rerank/recall@1": {"min": 0.7}}
    )
    found = evaluate(members, config, gallery_dir=store["gallery"], relevance_path=store["clicks"])
    parts = ("", "language=en/", "head_tail=tail/", "query_length=1-2/")
    measures = [f"{part}rerank/{name}" for part in parts for name in measure_names(config)]
    costs = ["rerank/ms_per_query", "rerank/images_per_second"]
    assert list(found.metrics) == [*measures, *costs]
    assert found.blessing.blessed, found.metrics  # it has learnt the colours; chance is 0.25
    assert {row["key"] for row in found.per_query.to_pylist()} == set(COLORS)
    write_evaluation(found, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Reranking, text to image" in page and "Embedding space" not in page
