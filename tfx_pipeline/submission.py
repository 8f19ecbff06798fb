"""What is decided when a run is submitted, and passed on as execution properties.

No step looks at the outside world to decide what it works on (Kubeflow has no drivers for
that): input files, the span window, the baseline, the release to start from and the release's
number are settled here.
So a step's inputs are all in its cache key.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

from tfx_pipeline import fingerprint
from tfx_pipeline.config import PLACES, ExperimentConfig, excluded
from tfx_pipeline.data.beam_options import resolve_beam_args
from tfx_pipeline.data.items import fingerprint_items
from tfx_pipeline.data.resolved import ResolvedData
from tfx_pipeline.release.image_tokenizer import fingerprint_image_tokenizers
from tfx_pipeline.release.place import (
    CURRENT,
    NEXT_VERSION,
    SERVING_DIR,
    current_release,
    follow_bucket,
    place_release,
    released_towers,
)
from tfx_pipeline.release.reranker import fingerprint_reranker, pin_reranker
from tfx_pipeline.release.warm_start import fingerprint_warm_starts, pin_warm_starts
from tfx_pipeline.storage.options import use_file_system_options
from tfx_pipeline.tuning.space import check_pipeline_space
from vl_models.errors import UserError

PIPELINE_DIR = "pipeline"

# Code whose change makes a step's earlier result stale.
_TEXT_CODE = ("vl_models/text", "tfx_pipeline/modules", "tfx_pipeline/components")
_DATA_CODE = ("tfx_pipeline/data", "tfx_pipeline/components", "vl_models/text")
_TRAINING_CODE = (
    "vl_models",
    "tfx_pipeline/modules",
    "tfx_pipeline/release",
    "tfx_pipeline/training",
    "serving",
)
_EVALUATION_CODE = (
    "tfx_pipeline/components",
    "tfx_pipeline/evaluation",
    "tfx_pipeline/release",
    "tfx_pipeline/report",
    "vl_models/hashing.py",
    "vl_models/members.py",
    "vl_models/metrics",
    "vl_models/zero_shot.py",
)
_TUNING_CODE = ("tfx_pipeline/tuning", "tfx_pipeline/evaluation", "vl_models/metrics")
_SERVING_CODE = ("serving", "tfx_pipeline/components", "tfx_pipeline/release")


@dataclasses.dataclass(frozen=True)
class Submission:
    """One run of an experiment, with everything that it depends on made explicit."""

    config: ExperimentConfig
    data: ResolvedData | None  # None: not to be seen from here, so the first step looks
    data_code: str
    text_code: str
    training_code: str
    tuning_code: str  # "" if nothing is tuned
    evaluation_code: str
    serving_code: str
    vocabulary_fingerprint: str
    schema_fingerprint: str
    key: str  # of everything above: equal keys mean the same release
    training_key: str  # of everything but the gallery: equal keys mean the same towers
    towers: str  # of the release whose towers stay, see `released_towers`; "" trains
    submitted: str  # ISO time of the first such submission since the last other release
    version: int  # or NEXT_VERSION
    baseline: str  # metrics of the release to compare with, as JSON; "" without one; or CURRENT
    beam_args: tuple[str, ...]  # for Beam's pipelines; they change where, not what

    @property
    def serving_root(self) -> Path:
        """Where releases go; absolute, because model servers want it so."""
        return Path(self.config.output, SERVING_DIR).resolve()

    @property
    def pipeline_root(self) -> Path:
        """Where TFX keeps artifacts and metadata."""
        return Path(self.config.output, PIPELINE_DIR).resolve()

    @property
    def lineage(self) -> str:
        """What a release of this run was made of, as JSON."""
        return json.dumps(
            {
                "experiment": self.config.name,
                "submission": self.key,
                "submitted": self.submitted,
                "input": self.data.fingerprint if self.data is not None else None,
                "training": self.training_key,
                "code": self.training_code,
                "baseline": json.loads(self.baseline)
                if self.baseline not in ("", CURRENT)
                else None,
            }
        )


def submit(
    config: ExperimentConfig, seen: bool = True, index_only: bool | None = None
) -> Submission:
    """Resolve an experiment's inputs and settle version and baseline.

    If the current release came from an equal submission, its version, its own baseline and
    its time are taken again: then a repeated run is served from the cache to the end. If it
    did not, the new time makes the pusher run, whatever it did in an earlier life of the
    serving root.

    Args:
        config: the experiment.
        seen: whether data folder, serving root and files that the configuration names lie where
            this process can read them. If not (a cluster's volume), the steps look themselves.
        index_only: build another index of the current release's towers and train nothing. None
            does so where nothing but the gallery has changed since that release.

    Raises:
        UserError: the data folder, the log or a named file is not there, the system has no
            text tower, Beam does not take its arguments, the bucket to publish to holds other
            releases, or there is no release whose towers could stay.
    """
    if config.features is None and config.model.reads_features:
        raise UserError(
            f"model: {config.model.system} reads features here, and a pipeline run starts from "
            "images and queries. Name the exported towers that make features of them: "
            "--set features.towers=FOLDER (a release root, or a run folder of `vlsearch train`)."
        )
    if config.features is None and "token_ids" not in config.model.inputs:
        raise UserError(
            f"model.system: {config.model.system} has no text tower, so there would be nothing to "
            "search with: a pipeline run releases a text and an image tower. Train it with "
            "`vlsearch train` and start a dual encoder from it (train.warm_start). "
            f"Received: model.system={config.model.system!r}."
        )
    beam_args = tuple(resolve_beam_args(config.beam_pipeline_args))
    use_file_system_options(beam_args)
    data = ResolvedData.of(config.data.folder, config.data) if seen else None
    codes = {
        "data_code": fingerprint.fingerprint_code(*_DATA_CODE),
        "text_code": fingerprint.fingerprint_code(*_TEXT_CODE),
        "training_code": fingerprint.fingerprint_code(*_TRAINING_CODE),
        "tuning_code": "",
        "evaluation_code": fingerprint.fingerprint_code(*_EVALUATION_CODE),
        "serving_code": fingerprint.fingerprint_code(*_SERVING_CODE),
        "vocabulary_fingerprint": fingerprint.fingerprint_code(*_TEXT_CODE),
        "schema_fingerprint": "",
    }
    if seen:  # unseen files are known by their names, which are in the configuration
        config = pin_reranker(pin_warm_starts(config))
        reranker = fingerprint_reranker(config.release.reranker)
        codes["evaluation_code"] += reranker
        codes["serving_code"] += reranker
        codes["training_code"] += fingerprint_warm_starts(config.train) + _towers_below(config)
        codes["training_code"] += fingerprint_image_tokenizers(config.model)
        codes["vocabulary_fingerprint"] += _pretrained_vocabulary(config.vocabulary.pretrained)
        codes["schema_fingerprint"] = _optional_file(config.data.schema_file, "data.schema_file")
    without = set(PLACES)
    if config.tune is not None and config.tune.enabled:
        check_pipeline_space(config.tune.space)
        codes["tuning_code"] = fingerprint.fingerprint_code(*_TUNING_CODE)
    else:
        without.add("tune")
    settings = config.model_dump_json(exclude=excluded(without))
    submitted = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    # Data that nobody has looked at may be others each time.
    content = data.model_dump_json() if data is not None else submitted
    of_log = data.log_fingerprint if data is not None else submitted
    training_key = fingerprint.fingerprint_text(settings, of_log, *codes.values())
    if seen:  # towers do not depend on them
        items = fingerprint_items(config.data.folder)
        codes["evaluation_code"] += items
        codes["serving_code"] += items
    made = Submission(
        config=config,
        data=data,
        key="",
        training_key=training_key,
        towers="",
        submitted=submitted,
        version=NEXT_VERSION,
        baseline=CURRENT,
        beam_args=beam_args,
        **codes,
    )
    if not seen:
        towers = f"not seen at submission, {submitted}" if index_only else ""
        made = dataclasses.replace(made, towers=towers, key=_key(settings, content, codes, towers))
        return _with_vanished_images(made) if towers else made
    published = follow_bucket(made.serving_root, config.release.publish_to)
    towers = _towers_that_stay(made, index_only)
    key = _key(settings, content, codes, towers)
    placed = place_release(made.serving_root, key, submitted, published)
    made = dataclasses.replace(made, towers=towers, key=key, **dataclasses.asdict(placed))
    return _with_vanished_images(made) if towers else made


def _with_vanished_images(made: Submission) -> Submission:
    """Let the log have clicks on images that are gone: nothing is learnt of them here.

    How many may vanish is `index.max_vanished_fraction`.
    """
    changed = {"max_rejected_fraction": 1.0}
    options = made.config.data.model_copy(update=changed)
    data = made.data
    if data is not None:
        data = data.model_copy(update={"config": data.config.model_copy(update=changed)})
    config = made.config.model_copy(update={"data": options})
    return dataclasses.replace(made, config=config, data=data)


def _key(settings: str, content: str, codes: dict[str, str], towers: str) -> str:
    """Key of a submission; those that train have the keys that they always had."""
    return fingerprint.fingerprint_text(
        settings, content, *codes.values(), *([towers] if towers else [])
    )


def _towers_that_stay(made: Submission, index_only: bool | None) -> str:
    """Return the towers of which another index is built; "" where towers are trained."""
    if index_only is False:
        return ""
    release = current_release(made.serving_root)
    if index_only:
        if release is None or release.index is None:
            raise UserError(
                f"--index-only builds another index of the current release's towers, and "
                f"{made.serving_root} has no release with an index. Run without it first."
            )
        return released_towers(release)
    if release is None or release.index is None or made.data is None:
        return ""
    if release.lineage.get("training") != made.training_key:
        return ""
    is_another_gallery = release.lineage.get("input") != made.data.fingerprint
    # The same run again is the same run again.
    return released_towers(release) if is_another_gallery or "towers_of" in release.lineage else ""


def _pretrained_vocabulary(path: str | None) -> str:
    """Fingerprint of the files of a given vocabulary."""
    if path is None:
        return ""
    from vl_models.text.factory import pretrained_files

    return "".join(_optional_file(str(f), "vocabulary.pretrained") for f in pretrained_files(path))


def _towers_below(config: ExperimentConfig) -> str:
    """Fingerprint of the towers that make the features."""
    if config.features is None:
        return ""
    from tfx_pipeline.data.feature_extraction import find_towers, fingerprint_towers

    return fingerprint_towers(find_towers(config.features.towers))


def _optional_file(path: str | None, key: str) -> str:
    """Fingerprint of a file that a configuration may name; "" if it names none."""
    if path is None:
        return ""
    if not Path(path).is_file():
        raise UserError(f"{key}: there is no file {path}.")
    return fingerprint.fingerprint_file(path)
