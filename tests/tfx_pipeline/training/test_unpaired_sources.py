"""Sources of images alone and of texts alone, from a feature set that lacks some of them."""

import numpy as np
import pytest

from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.feature_examples import write_feature_examples
from tfx_pipeline.data.feature_set import FeatureSet
from tfx_pipeline.training.setup import prepare_training
from tfx_pipeline.training.towers import train_towers
from vl_models.errors import UserError
from vl_models.input.records import START
from vl_models.input.source import Feed

ROWS = 48
SOURCES = "input.sources=[{name: pairs}, {name: images, rows: images}, {name: texts, rows: texts}]"
SMALL = ("model.hidden_widths=[16]", "train.global_batch_size=4", "model.embedding_dim=8")


def experiment(system, *overrides):
    given = ["data.folder=unused", *overrides]
    return ExperimentConfig.load(REPOSITORY / "configs" / f"{system}.yaml", given)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A third of the rows has no text, a third no image."""
    generator = np.random.default_rng(0)
    label = np.arange(ROWS) % 2
    image = generator.normal(size=(ROWS, 6)) + 3.0 * label[:, None]
    text = generator.normal(size=(ROWS, 5)) - 3.0 * label[:, None]
    kind = np.arange(ROWS) // 2 % 3
    data = FeatureSet(
        image.astype(np.float32),
        text.astype(np.float32),
        kind != 1,
        kind != 2,
        np.eye(2, dtype=bool)[label],
        ("even", "odd"),
        np.where(np.arange(ROWS) < 36, "train", "val"),
        text_label=np.zeros((ROWS, 0), bool),
        text_label_names=(),
    )
    folder = tmp_path_factory.mktemp("examples")
    counts = write_feature_examples(data, folder, "made")
    assert counts["Split-train"] == counts["Split-train-image-only"] == 12
    return folder


def test_a_batch_of_one_modality_lacks_the_other(examples):
    config = experiment("tfnh", SOURCES, *SMALL)
    pairs, images, texts = prepare_training(config, examples, examples).sources
    keys = []
    for place, source in enumerate((pairs, images, texts)):
        batch, _ = next(source.open(Feed(batch_size=4, seed=1, source_id=place), START))
        keys.append({key for key in batch if key.endswith("_features")})
        assert batch["label"].shape == (4, 2)
    assert keys == [{"image_features", "text_features"}, {"image_features"}, {"text_features"}]


def test_training_draws_from_all_three(examples, tmp_path):
    config = experiment("tfnh", SOURCES, *SMALL, "train.epochs=4", "train.log_every=1")
    model = train_towers(
        config,
        examples=examples,
        vocabulary=examples,
        run_dir=tmp_path / "run",
        towers_dir=tmp_path / "towers",
    )
    exported = sorted(path.name for path in (tmp_path / "towers").iterdir())
    assert exported == ["image_tower", "text_tower", "weights"]
    kernel = np.asarray(model.fusion.dense[0].kernel)
    assert np.isfinite(kernel).all()


def test_a_system_of_pairs_takes_no_single_modality(examples):
    config = experiment("ucal", SOURCES, "train.global_batch_size=4")
    with pytest.raises(UserError, match="has rows of images alone, of which the system 'ucal'"):
        prepare_training(config, examples, examples)


def test_data_without_single_rows_are_told(examples, tmp_path):
    (tmp_path / "Split-train").symlink_to(examples / "Split-train")
    config = experiment("tfnh", SOURCES, *SMALL)
    with pytest.raises(UserError, match="the data have no rows of images alone in the train"):
        prepare_training(config, tmp_path, tmp_path)
