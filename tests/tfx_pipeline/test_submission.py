import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.publish import publish_index, publish_release, roll_back
from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.submission import submit
from vl_models.errors import UserError


@pytest.fixture
def submission(emoji_folder, tmp_path):
    """Submits the emoji experiment, with overrides, to an output folder of the test."""

    def make(*overrides):
        given = [f"data.folder={emoji_folder}", f"output={tmp_path}", *overrides]
        return submit(ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", given))

    return make


@pytest.fixture
def publish(tmp_path):
    """Publishes a submission's release, with towers that nobody loads."""

    def make(made, recall):
        tower = tmp_path / f"tower-{made.key}"
        tower.mkdir(exist_ok=True)
        (tower / "saved_model.pb").write_bytes(made.key.encode())
        publish_release(
            made.serving_root,
            made.version,
            models={"text_tower": tower},
            index=None,
            metrics={"recall@10": recall},
            lineage=json.loads(made.lineage),
        )

    return make


def test_the_first_submission_has_no_baseline(submission):
    made = submission()
    assert (made.version, made.baseline) == (1, "")
    assert made.data.spans == tuple(sorted(made.data.spans)) and len(made.data.spans) == 7


def test_what_does_not_change_the_result_does_not_change_the_key(submission):
    key = submission().key
    assert submission("beam_pipeline_args=[--runner=FnApiRunner]").key == key
    assert submission("train.steps=7").key != key
    assert submission("data.span_window=3").key != key
    assert submission("data.splits={policy: by_query}").key != key


def test_beam_arguments_come_from_the_experiment_and_the_environment(submission, monkeypatch):
    monkeypatch.setenv("VLSEARCH_BEAM_PIPELINE_ARGS", "--job_endpoint=localhost:8099")
    made = submission("beam_pipeline_args=[--runner=FlinkRunner]")
    assert made.beam_args[:2] == ("--runner=FlinkRunner", "--job_endpoint=localhost:8099")
    with pytest.raises(UserError, match="Beam has no option '--paralelism' for this runner"):
        submission("beam_pipeline_args=[--runner=FlinkRunner, --paralelism=4]")


def test_touching_the_log_changes_the_key(submission, emoji_folder, tmp_path):
    data = shutil.copytree(emoji_folder, tmp_path / "data")
    key = submission(f"data.folder={data}").key
    [first, *_] = sorted((data / "log").glob("*/*.parquet"))
    status = first.stat()
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert submission(f"data.folder={data}").key != key


def test_another_table_of_items_is_another_evaluation_and_no_other_training(
    submission, emoji_folder, tmp_path
):
    data = shutil.copytree(emoji_folder, tmp_path / "data")
    (data / "items.csv").unlink()
    made = [submission(f"data.folder={data}")]
    for twin in ("b", "c"):
        pq.write_table(pa.table({"id": ["a"], "twin": [twin]}), data / "items.parquet")
        made.append(submission(f"data.folder={data}"))
    assert submission(f"data.folder={data}").key == made[-1].key
    assert len({one.key for one in made}) == len({one.evaluation_code for one in made}) == 3
    assert len({one.serving_code for one in made}) == 3  # it is another index, too
    unchanged = ("data", "data_code", "training_code", "training_key")
    assert len({tuple(getattr(one, name) for name in unchanged) for one in made}) == 1


def test_towers_stay_where_nothing_but_the_gallery_has_changed(emoji_folder, tmp_path):
    data = shutil.copytree(emoji_folder, tmp_path / "data")

    def submitted(*overrides, **how):
        given = [f"data.folder={data}", f"output={tmp_path}", *overrides]
        return submit(ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", given), **how)

    def publish(made):
        tower, index = tmp_path / "tower", tmp_path / "index"
        for folder in (tower, index):
            folder.mkdir(exist_ok=True)
        (tower / "saved_model.pb").write_bytes(b"of the first training")
        (index / "index.json").write_text(json.dumps({"tower_version": None, "n": made.version}))
        lineage = json.loads(made.lineage) | ({"towers_of": 1} if made.towers else {})
        root, version = made.serving_root, made.version
        if made.towers:
            return publish_index(root, version, index, lineage=lineage)
        return publish_release(root, version, {"text_tower": tower}, index, lineage=lineage)

    with pytest.raises(UserError, match=r"has no release with an index\. Run without it first"):
        submitted(index_only=True)
    first = submitted()
    publish(first)
    assert submitted().towers == "" and submitted() == first  # nothing at all has changed
    shutil.copy(data / "images" / "u1f600.png", data / "images" / "new.png")
    (data / "items.csv").write_text((data / "items.csv").read_text().replace("grinning", "happy"))
    another = submitted()
    assert another.towers and another.version == 2 and another.training_key == first.training_key
    assert submitted(index_only=False).towers == ""
    assert submitted("train.steps=7").towers == ""
    assert another.config.data.max_rejected_fraction == 1  # clicks on images that are gone
    publish(another)
    assert submitted() == another  # the same run again
    [log, *_] = sorted((data / "log").glob("*/*.parquet"))
    os.utime(log, (1, 1))
    assert submitted().towers == "" and submitted(index_only=True).towers == another.towers


def test_another_submission_is_compared_with_the_current_release(submission, publish):
    publish(submission(), 0.4)
    other = submission("train.steps=7")
    assert (other.version, other.baseline) == (2, '{"recall@10": 0.4}')


def test_a_repetition_takes_version_baseline_and_time_of_the_first(submission, publish):
    publish(submission(), 0.4)
    second = submission("train.steps=7")
    publish(second, 0.5)

    again = submission("train.steps=7")

    assert again == second


def test_a_publication_killed_before_its_end_is_taken_up_again(submission, publish):
    publish(submission(), 0.4)
    second = submission("train.steps=7")
    before = (second.serving_root / "release.json").read_bytes()
    publish(second, 0.5)
    (second.serving_root / "release.json").write_bytes(before)  # as if killed before this

    again = submission("train.steps=7")
    assert (again.version, again.baseline) == (second.version, second.baseline)


def test_going_back_to_earlier_settings_is_a_new_release(submission, publish):
    first = submission()
    publish(first, 0.4)
    publish(submission("train.steps=7"), 0.5)

    again = submission()

    assert (again.version, again.baseline) == (3, '{"recall@10": 0.5}')
    assert again.submitted != first.submitted


def test_after_a_roll_back_the_older_release_is_the_baseline(submission, publish):
    first = submission()
    publish(first, 0.4)
    second = submission("train.steps=7")
    publish(second, 0.5)
    roll_back(first.serving_root)
    assert submission() == first
    again = submission("train.steps=7")  # the pusher must run, though it has seen all but the time
    assert (again.version, again.baseline) == (2, '{"recall@10": 0.4}')
    assert again.submitted != second.submitted
    assert submission("train.steps=8").baseline == '{"recall@10": 0.4}'
    assert submission("train.steps=8").version == 3


@pytest.mark.parametrize("key", ["vocabulary.pretrained", "data.schema_file"])
def test_a_named_file_that_is_missing_is_refused(submission, key):
    with pytest.raises(UserError, match=f"{key}: there is no file /nowhere"):
        submission(f"{key}=/nowhere")


def test_a_system_without_texts_is_refused_with_what_to_do_instead(submission):
    with pytest.raises(UserError) as caught:
        submission("model={system: moco, image: {kind: cnn}}")
    assert str(caught.value) == (
        "model.system: moco has no text tower, so there would be nothing to search with: a "
        "pipeline run releases a text and an image tower. Train it with `vlsearch train` and start "
        "a dual encoder from it (train.warm_start). Received: model.system='moco'."
    )


def test_other_initial_weights_or_merges_are_another_submission(submission, tmp_path):
    weights, merges = tmp_path / "start.safetensors", tmp_path / "merges.txt"
    weights.write_bytes(b"one")
    merges.write_text("#version\na b\n", "utf-8")
    overrides = (
        f"train.warm_start={{from: {weights}}}",
        f"vocabulary={{kind: clip_bpe, pretrained: {merges}}}",
    )
    first = submission(*overrides)
    weights.write_bytes(b"two")
    second = submission(*overrides)
    merges.write_text("#version\na c\n", "utf-8")
    third = submission(*overrides)
    assert first.training_code != second.training_code == third.training_code
    assert first.vocabulary_fingerprint == second.vocabulary_fingerprint
    assert second.vocabulary_fingerprint != third.vocabulary_fingerprint
    assert len({first.key, second.key, third.key}) == 3


def test_the_release_to_start_from_is_settled_and_part_of_the_key(submission, tmp_path):
    """By its weights: another release of the same number is another start."""

    def release(root, number, content):
        tower, weights = tmp_path / "tower", tmp_path / "weights"
        for folder, name in ((tower, "saved_model.pb"), (weights, "weights.safetensors")):
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        publish_release(root, number, {"text_tower": tower}, None, weights=weights)

    release(tmp_path / "one", 1, b"first")
    start = f"train.warm_start={{from: {tmp_path / 'one'}}}"
    first = submission(start)
    assert first.config.train.warm_start.source == f"{tmp_path / 'one'}@1"
    assert submission(start.replace("one", "one@1")).key == first.key
    release(tmp_path / "one", 2, b"second")
    second = submission(start)
    assert second.config.train.warm_start.source == f"{tmp_path / 'one'}@2"
    assert second.key != first.key
    assert submission(start.replace("one", "one@1")).key == first.key
    release(tmp_path / "other", 1, b"not the first")
    (tmp_path / "one").rename(tmp_path / "away")
    (tmp_path / "other").rename(tmp_path / "one")
    assert submission(start.replace("one", "one@1")).key != first.key
