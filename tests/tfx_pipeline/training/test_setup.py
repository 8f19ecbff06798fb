"""From an experiment and Examples to what the trainer takes."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.tfx_pipeline.conftest import REPOSITORY
from tests.vl_models.training import tiny
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.training.setup import prepare_training
from vl_models.errors import UserError
from vl_models.text.factory import save_vocabulary
from vl_models.text.vocabulary import SPECIAL_TOKENS, VOCABULARY_FILE

SETTINGS = (
    "model.image_size=8",
    "model.image={kind: vit, patch_size: 4, width: 8, depth: 1, heads: 1}",
    "model.text={kind: transformer, width: 8, depth: 1, heads: 1}",
    "train.global_batch_size=4",
    "train.steps=1",
)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for split in ("train", "val"):
        tiny.write_records(folder / f"Split-{split}", shards=1, per_shard=6)
    return folder


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    tokens = [*SPECIAL_TOKENS, "image", "text", "1"]
    save_vocabulary({VOCABULARY_FILE: "".join(f"{token}\n" for token in tokens)}, folder)
    return folder


def experiment(*overrides):
    return ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", [*SETTINGS, *overrides])


def test_the_experiment_and_the_data_decide_together(examples, vocabulary):
    config = experiment("train.hooks=[{name: validation, every: 1}]", "input.sampling=mixed")
    setup = prepare_training(config, examples, vocabulary)
    assert setup.facts.data.vocabulary_size == len(SPECIAL_TOKENS) + 3
    assert setup.facts.image_sizes == {"image": 8} and setup.facts.inputs == ("image", "token_ids")
    assert [source.name for source in setup.sources] == ["queries"] and setup.sampling == "mixed"
    assert setup.hooks.keys() == {"validation"}
    assert setup.model_fn().config.vocabulary_size == len(SPECIAL_TOKENS) + 3


def test_the_bias_of_siglip_is_that_of_the_global_batch(examples, vocabulary):
    batch = ("train.global_batch_size=null", "train.batch_size_per_replica=3")
    config = ExperimentConfig.load(
        REPOSITORY / "configs" / "siglip.yaml",
        [*SETTINGS, *batch, "train.hooks=[]", "devices=cpu:2"],
    )
    trainer = prepare_training(config, examples, vocabulary).trainer(vocabulary / "siglip")
    assert float(tf.convert_to_tensor(trainer.model.bias.bias)) == pytest.approx(-math.log(5))
    [bias, rest] = trainer._groups[("train", "all")]
    assert [v.path for v in bias.variables] == ["logit_bias/bias"]
    assert bias.config.learning_rate == pytest.approx(10 * rest.config.learning_rate)


def test_what_is_set_under_input_reaches_the_batch(examples, vocabulary):
    keys = ("crop_scale: [0.5, 0.9]", "shuffle_shards: 2", "max_clicked_queries: 0", "views: 2")
    graph = "model.positives=uniform"  # of what is not read then
    config = experiment(f"input={{{', '.join(keys)}}}", "train.hooks=[]", graph)
    setup = prepare_training(config, examples, vocabulary)
    trainer = setup.trainer(vocabulary / "run")
    batch = trainer._mixer.batch(0)
    assert batch["image_2"].shape == (4, 8, 8, 3) and "clicked_query_hashes" not in batch
    assert setup.hooks == {}


def test_the_model_serves_the_scale_that_it_is_trained_at(examples, vocabulary):
    config = experiment("input.crop_scale=[0.6, 0.8]", "train.hooks=[]")
    setup = prepare_training(config, examples, vocabulary)
    assert setup.model_fn().config.crop_share == pytest.approx(0.7)
    assert setup.facts.crop_share == pytest.approx(0.7)


def test_words_are_lost_in_training_as_the_vocabulary_says(examples, vocabulary):
    every = ("vocabulary.subword_dropout=0", "vocabulary.unknown_words=1")
    setup = prepare_training(experiment("train.hooks=[]", *every), examples, vocabulary)
    unknown = setup.tokenizer.vocabulary.index("[UNK]")
    ids = setup.trainer(vocabulary / "unknown")._mixer.batch(0)["token_ids"].numpy()
    inner = [setup.tokenizer.start_id, setup.tokenizer.end_id, setup.tokenizer.padding_id]
    assert set(ids[~np.isin(ids, inner)].tolist()) == {unknown}


def test_padding_is_the_models(examples, vocabulary):
    setup = prepare_training(
        experiment("model.image_fit=pad", "train.hooks=[]"), examples, vocabulary
    )
    assert setup.facts.image_fit == "pad"
    batch = setup.trainer(vocabulary / "padded")._mixer.batch(0)
    assert batch["image_extent"].numpy().tolist() == [[8, 8]] * 4  # the stored ones are squares


def test_a_split_without_files_is_told(vocabulary, tmp_path):
    with pytest.raises(UserError, match="Split-train"):
        prepare_training(experiment("train.hooks=[]"), tmp_path, vocabulary)
