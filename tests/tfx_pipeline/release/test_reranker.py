"""A reranker of another run, named by the experiment: where it may be, and what is told of it."""

import shutil

import pytest
import tensorflow as tf

from serving.publish import publish_release
from serving.rerank_settings import RerankSettings
from tests.vl_models.grid_reranker import make_grid_reranker
from tests.vl_models.test_export import TOKENIZER
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.evaluation.metric_keys import RERANK_WEIGHT
from tfx_pipeline.release.model_card import render_model_card
from tfx_pipeline.release.rerank_settings import released_rerank
from tfx_pipeline.release.reranker import (
    describe_origin,
    find_reranker,
    fingerprint_reranker,
    pin_reranker,
    released_members,
)
from tfx_pipeline.submission import submit
from tfx_pipeline.training_run import TrainingRun
from vl_models.errors import UserError
from vl_models.export import export_members


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of `vlsearch train` with a reranker."""
    folder = tmp_path_factory.mktemp("run")
    export_members(make_grid_reranker(), TOKENIZER, folder / "towers")
    return folder


@pytest.fixture
def config(run):
    def make(*overrides):
        given = ("data.folder=x", f"release.reranker={run}", *overrides)
        return ExperimentConfig.load("configs/emoji.yaml", given)

    return make


def test_the_places_that_a_reranker_can_be_named_by(run, tmp_path):
    exported = (run / "towers" / "reranker").resolve()
    for place in (run, run / "towers", exported, str(run)):
        assert find_reranker(place) == exported
    for version in (3, 4):
        publish_release(tmp_path / "serving", version, {"reranker": exported}, None)
    for place in (tmp_path, tmp_path / "serving"):
        assert find_reranker(place) == (tmp_path / "serving" / "reranker" / "4").resolve()


def test_places_without_one(run, tmp_path):
    with pytest.raises(UserError) as error:
        find_reranker(tmp_path)
    assert str(error.value) == (
        f"release.reranker: no SavedModel of a reranker in {tmp_path}. Name a run folder of "
        "`vlsearch train`, a release root, or a folder that holds reranker/. "
        f"Received: release.reranker={str(tmp_path)!r}"
    )
    tower = tmp_path / "text_tower"
    shutil.copytree(run / "towers" / "reranker", tower)
    publish_release(tmp_path / "serving", 1, {"text_tower": tower}, None)
    with pytest.raises(UserError, match=r"release 1 of .* has no reranker, but text_tower\. Name"):
        find_reranker(tmp_path)
    module = tf.Module()
    score = tf.function(lambda x: {"score": x}).get_concrete_function(
        tf.TensorSpec([None], tf.float32, "image_features")
    )
    tf.saved_model.save(module, str(tmp_path / "f" / "reranker"), signatures={"score": score})
    message = r"no signature score of query and image_bytes, .* inputs=\['image_features'\]"
    with pytest.raises(UserError, match=message):
        find_reranker(tmp_path / "f")


def test_it_is_pinned_and_part_of_what_a_submission_depends_on(run, config, tmp_path):
    exported = str((run / "towers" / "reranker").resolve())
    pinned = pin_reranker(config())
    assert pinned.release.reranker == exported
    assert pin_reranker(pinned) == pinned
    without = config("release.reranker=null")
    assert pin_reranker(without) == without and fingerprint_reranker(None) == ""
    same = shutil.copytree(run, tmp_path / "same")
    assert fingerprint_reranker(same) == fingerprint_reranker(exported)
    (same / "towers" / "reranker" / "assets" / "other.txt").write_text("another vocabulary")
    assert fingerprint_reranker(same) != fingerprint_reranker(exported)


@pytest.fixture
def data(tmp_path):
    """A data folder with a log of one line."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "log.csv").write_text("query,image_id,clicked\nq,a,1\n")
    DataFolder(kind="clicks", name="x", log="log.csv").save(folder)
    return folder


def test_a_reranker_that_is_not_there_is_told_before_the_training(config, data, tmp_path):
    given = config(f"data.folder={data}", f"release.reranker={tmp_path / 'none'}")
    with pytest.raises(UserError, match="no SavedModel of a reranker in"):
        TrainingRun(tmp_path / "run").train(given)
    assert not (tmp_path / "run").exists()


def test_another_reranker_repeats_what_follows_the_training_alone(run, config, data, tmp_path):
    places = (f"data.folder={data}", f"output={tmp_path / 'output'}")
    changed = shutil.copytree(run, tmp_path / "changed")
    (changed / "towers" / "reranker" / "assets" / "other.txt").write_text("another vocabulary")
    one, again, other, none = (
        submit(config(*places, f"release.reranker={place}"))
        for place in (run, run / "towers", changed, "null")
    )
    assert one.key == again.key != other.key != none.key
    assert one.training_code == other.training_code == none.training_code
    for code in ("evaluation_code", "serving_code"):
        assert len({getattr(made, code) for made in (one, again, other, none)}) == 3
    assert one.config.release.reranker == str((run / "towers" / "reranker").resolve())


def test_it_is_released_in_the_place_of_the_runs_own(run, tmp_path):
    for name in ("text_tower", "image_tower", "reranker"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    own = {name: tmp_path / name for name in ("image_tower", "reranker", "text_tower")}
    assert released_members(tmp_path, None) == released_members(tmp_path, "") == own
    other = (run / "towers" / "reranker").resolve()
    assert released_members(tmp_path, str(run)) == {**own, "reranker": other}


def test_where_it_came_from_is_told(run):
    exported = str((run / "towers" / "reranker").resolve())
    assert describe_origin(None) == {}
    fingerprint = fingerprint_reranker(run)
    assert describe_origin(run) == {"reranker": {"from": exported, "fingerprint": fingerprint}}
    card = render_model_card(
        name="x", version=1, models=["reranker"], experiment="", spans=None, reranker=exported
    )
    assert f"scores how well they fit; higher is better; of another run, {exported};" in card


@pytest.mark.parametrize(
    ("overrides", "metrics", "expected"),
    [
        ([], {}, RerankSettings("score", 1.0, 32)),
        (["evaluate.rerank.candidates=8"], {}, RerankSettings("score", 1.0, 8)),
        (["evaluate.rerank.order=sum"], {RERANK_WEIGHT: 0.2}, RerankSettings("sum", 0.2, 32)),
        (["evaluate.rerank.order=sum"], {}, RerankSettings("score", 1.0, 32)),
        (
            ["evaluate.rerank={order: sum, weight: 0.5}"],
            {RERANK_WEIGHT: 0.5},
            RerankSettings("sum", 0.5, 32),
        ),
        (
            ["evaluate.rerank.order=sum", "release.rerank={order: sum, weight: 2, candidates: 5}"],
            {RERANK_WEIGHT: 0.2},
            RerankSettings("sum", 2.0, 5),
        ),
    ],
)
def test_searches_rerank_as_was_evaluated_or_as_is_said(config, overrides, metrics, expected):
    assert released_rerank(config(*overrides), metrics) == expected
