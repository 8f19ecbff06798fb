"""Zero-shot classification of the labelled gallery images, and search by class name.

The gallery is every encoded image with a label text: training images included, unless the
data is split by image and the evaluated gallery is that of the split.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.encode import Tower, encode_queries
from tfx_pipeline.evaluation.gallery import read_batches
from tfx_pipeline.evaluation.metric_keys import ZERO_SHOT
from tfx_pipeline.evaluation.result import Measured, Row, Table, Tables
from tfx_pipeline.release.signatures import read_signatures
from vl_models.export import ZERO_SHOT_ASSET
from vl_models.members import (
    CLASSIFY_ZERO_SHOT,
    ENCODE_TEXT,
    IMAGE_TOWER,
    TEXT_TOWER,
    with_prefix,
)
from vl_models.metrics.bootstrap import Interval, percentile_interval, ratio_draws
from vl_models.metrics.judgements import Judgements
from vl_models.metrics.ranking import Ranking, rank_embeddings
from vl_models.metrics.retrieval import PerQuery, average_precision, recall_at_k
from vl_models.zero_shot import class_embeddings, fill_templates

_KS = (1, 5)
_PRECISION_K = 10


@dataclass(frozen=True)
class ZeroShotSetup:
    """What two exported towers can do with class names.

    Attributes:
        classes: C names.
        templates: how a name becomes texts.
        prefix: what the exported classes were encoded with; None is the model's default.
        prefixes: text prefixes that the text tower has signatures for.
        ks: of accuracy@k; from k = C on it would be 1 for any model.
    """

    classes: tuple[str, ...]
    templates: tuple[str, ...]
    prefix: str | None
    prefixes: tuple[str, ...]
    ks: tuple[int, ...]

    @property
    def accuracies(self) -> tuple[str, ...]:
        """Measures from image to class."""
        return tuple(f"{ZERO_SHOT}/accuracy@{k}" for k in self.ks)

    @property
    def retrievals(self) -> tuple[str, ...]:
        """Measures from class to images."""
        return (
            f"{ZERO_SHOT}/precision@{_PRECISION_K}/text_to_image",
            f"{ZERO_SHOT}/map@all/text_to_image",
        )

    @property
    def keys(self) -> list[str]:
        """Every metric key, the exported classifier's first, then those of each prefix."""
        names = [*self.accuracies, *self.retrievals]
        return names + [f"prefix={prefix}/{name}" for prefix in self.prefixes for name in names]


def read_setup(text_tower: str | Path, image_tower: str | Path) -> ZeroShotSetup | None:
    """Look at two exported towers; None if they were exported without classes."""
    classifier = read_signatures(image_tower).get(CLASSIFY_ZERO_SHOT)
    asset = Path(image_tower, ZERO_SHOT_ASSET)
    if classifier is None or not asset.is_file():
        return None
    content = json.loads(asset.read_text(encoding="utf-8"))
    returned = classifier.widths["classes"] or 1
    return ZeroShotSetup(
        classes=tuple(content["classes"]),
        templates=tuple(content["templates"]),
        prefix=content["prefix"],
        prefixes=text_prefixes(text_tower, ENCODE_TEXT),
        ks=tuple(k for k in _KS if k == 1 or k <= min(returned, len(content["classes"]) - 1)),
    )


def text_prefixes(text_tower: str | Path, signature: str) -> tuple[str, ...]:
    """Prefixes that the text tower has variants of a signature for, sorted."""
    start = with_prefix(signature, "")
    names = sorted(read_signatures(text_tower))
    return tuple(name.removeprefix(start) for name in names if name.startswith(start))


class ZeroShot(Evaluator):
    """Values and bootstrap intervals: over images to class, over classes to images.

    An image is right at k if one of its labels is among the k likeliest classes; images with
    no label among the classes are left out of the accuracies. All values are NaN if there is no
    other image.
    """

    needs = "text_tower, an image_tower with classify_zero_shot, and clicks"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        return data.has_towers and data.has_clicks and _setup(data) is not None

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`."""
        setup = _setup(data)
        assert setup is not None
        return setup.keys

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`."""
        setup = _setup(data)
        assert setup is not None
        found = _measure(setup, data)
        return Measured(
            metrics={key: value for key, (value, _) in found.items()},
            intervals={key: interval for key, (_, interval) in found.items()},
            headline=setup.accuracies[:1],
            sections=[zero_shot_table(setup, len(data.labels), data.config)],
        )


def zero_shot_table(setup: ZeroShotSetup, labelled: int, config: EvaluationConfig) -> Tables:
    """Return the exported classifier, then the classes under each prefix."""
    names = (*setup.accuracies, *setup.retrievals)
    columns = [n.removeprefix(f"{ZERO_SHOT}/").replace("/", ", ").replace("_", " ") for n in names]
    rows = [Row(("exported classifier",), names)]
    rows += [
        Row((f"prefix={prefix}",), tuple(f"prefix={prefix}/{name}" for name in names))
        for prefix in setup.prefixes
    ]
    seen = (
        ", training images included"
        if config.gallery == "all"
        else "; they are unseen only if the data is split by image"
    )
    note = (
        f"Class names in templates, averaged, are compared with {labelled:,} gallery images that "
        f"have a label{seen}. Accuracy: images whose label is among the first k classes; intervals "
        "over images. Text to image: the labelled images ranked for each class; intervals over "
        "classes."
    )
    table = Table(("classes encoded with", *columns), tuple(rows))
    return Tables("Zero-shot classification", (table,), note)


def _setup(data: EvaluationData) -> ZeroShotSetup | None:
    return read_setup(data.members[TEXT_TOWER], data.members[IMAGE_TOWER])


def _measure(setup: ZeroShotSetup, data: EvaluationData) -> dict[str, tuple[float, Interval]]:
    text_tower, image_tower = data.members[TEXT_TOWER], data.members[IMAGE_TOWER]
    encoded, labels, config = data.encoded, data.labels, data.config
    if {text for texts in labels.values() for text in texts}.isdisjoint(setup.classes):
        return dict.fromkeys(setup.keys, (math.nan, Interval(math.nan, math.nan)))
    rows = [row for row, name in enumerate(encoded.image_ids) if name in labels]
    truth = [labels[encoded.image_ids[row]] for row in rows]
    images = encoded.images[rows]
    accuracies = _exported_accuracies(setup, image_tower, data.gallery_dir, labels, config)
    own = ENCODE_TEXT if setup.prefix is None else with_prefix(ENCODE_TEXT, setup.prefix)
    retrieved = _rank(setup, Tower(text_tower, own), images, truth, config)[1]
    values = _summarise({**accuracies, **_retrievals(setup, retrieved)}, config)
    for prefix in setup.prefixes:
        tower = Tower(text_tower, with_prefix(ENCODE_TEXT, prefix))
        classified, retrieved = _rank(setup, tower, images, truth, config)
        measures = {
            name: recall_at_k(classified, k, "queries")
            for name, k in zip(setup.accuracies, setup.ks)
        }
        found = _summarise({**measures, **_retrievals(setup, retrieved)}, config)
        values.update((f"prefix={prefix}/{name}", entry) for name, entry in found.items())
    return values


def _exported_accuracies(
    setup: ZeroShotSetup,
    image_tower: str | Path,
    gallery_dir: str | Path,
    labels: Mapping[str, tuple[str, ...]],
    config: EvaluationConfig,
) -> dict[str, PerQuery]:
    """Accuracies of what the image tower's own signature answers."""
    known = set(setup.classes)
    wanted = {name: set(texts) & known for name, texts in labels.items() if known & set(texts)}
    found = [
        [not wanted[name].isdisjoint(classes[:k]) for k in setup.ks]
        for name, classes in _classify(image_tower, gallery_dir, set(wanted), config.batch_size)
    ]
    hits = np.asarray(found, np.float64).reshape(-1, len(setup.ks))
    return {
        name: PerQuery(hits[:, column], np.ones(len(hits)))
        for column, name in enumerate(setup.accuracies)
    }


def _classify(
    image_tower: str | Path, gallery_dir: str | Path, keep: set[str], batch_size: int
) -> Iterator[tuple[str, list[str]]]:
    """Id and likeliest classes of the gallery's images ``keep``, by the exported signature."""
    loaded = tf.saved_model.load(str(image_tower))
    classify = loaded.signatures[CLASSIFY_ZERO_SHOT]
    for ids, images in read_batches(gallery_dir, batch_size):
        kept = [row for row, name in enumerate(ids) if name in keep]
        if kept:
            answer = classify(image_bytes=tf.constant(images[kept]))["classes"].numpy()
            for row, names in zip(kept, answer):
                yield ids[row], [name.decode("utf-8") for name in names]


def _rank(
    setup: ZeroShotSetup,
    tower: Tower,
    images: np.ndarray,
    truth: list[tuple[str, ...]],
    config: EvaluationConfig,
) -> tuple[Ranking, Ranking]:
    """Rank the classes for each labelled image, and the labelled images for each class."""
    texts = fill_templates(setup.classes, setup.templates)
    encoded = encode_queries(tower, texts, config.batch_size)
    classes = class_embeddings(encoded, len(setup.templates))
    row_of = {name: row for row, name in enumerate(setup.classes)}
    pairs = [
        (image, row_of[name])
        for image, names in enumerate(truth)
        for name in names
        if name in row_of
    ]
    image, label = np.asarray(pairs, np.int64).reshape(-1, 2).T
    return (
        rank_embeddings(images, classes, Judgements.from_pairs(image, label, len(images))),
        rank_embeddings(classes, images, Judgements.from_pairs(label, image, len(classes))),
    )


def _retrievals(setup: ZeroShotSetup, ranking: Ranking) -> dict[str, PerQuery]:
    """Precision among the first images of a class, of all ranks its average precision."""
    counts = np.bincount(ranking.query, minlength=ranking.num_queries)
    first = ranking.query[ranking.list_rank <= _PRECISION_K]
    hits = np.bincount(first, minlength=ranking.num_queries)
    precision = PerQuery(hits / _PRECISION_K, (counts > 0).astype(float))
    return dict(zip(setup.retrievals, (precision, average_precision(ranking))))


def _summarise(
    measures: Mapping[str, PerQuery], config: EvaluationConfig
) -> dict[str, tuple[float, Interval]]:
    """Means with intervals; what a measure is not defined for is not resampled."""
    return {name: mean_with_interval(measure, config) for name, measure in measures.items()}


def mean_with_interval(measure: PerQuery, config: EvaluationConfig) -> tuple[float, Interval]:
    """Return the mean over the rows that count, with its bootstrap interval; NaN if none does."""
    counted = measure.count > 0
    draws = ratio_draws(
        measure.total[counted, None],
        measure.count[counted, None],
        samples=config.bootstrap.samples,
        seed=config.bootstrap.seed,
    )
    return measure.mean(), percentile_interval(draws[:, 0], config.bootstrap.confidence)
