"""What evaluators are, and what they measure with: members and data, read once for all."""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from tfx_pipeline.data.feature_set import FeatureSet
from tfx_pipeline.data.items import read_names, read_twins
from tfx_pipeline.evaluation.config import EvaluationConfig, SplitName
from tfx_pipeline.evaluation.encode import Tower, encode_gallery
from tfx_pipeline.evaluation.encoded_data import (
    EncodedData,
    JudgedData,
    encode_data,
    evaluated_images,
    judge,
)
from tfx_pipeline.evaluation.gallery import read_batches, read_labels
from tfx_pipeline.evaluation.questions import AnsweredQuestion, read_questions
from tfx_pipeline.evaluation.relevance import Relevance, read_relevance
from tfx_pipeline.evaluation.result import Measured
from tfx_pipeline.evaluation.slices import slice_masks, slice_values
from vl_models.members import ENCODE_IMAGE, IMAGE_TOWER, TEXT_TOWER


class EvaluationData:
    """Members and data of one evaluation; what is read or encoded is kept.

    Args:
        members: SavedModel folder by name.
        config: what to measure.
        gallery_dir: folder of ``data_tfrecord-*.gz``, every image of the store once.
        relevance_path: ``relevance.parquet`` with the clicks of all splits.
        features: a labelled set of features, for towers that read such.
        items_path: the data folder's table of items, if it has one.
        questions_dir: folder of the Examples of questions, ``Split-<split>/`` each.
    """

    def __init__(
        self,
        members: Mapping[str, str | Path],
        config: EvaluationConfig,
        gallery_dir: str | Path | None = None,
        relevance_path: str | Path | None = None,
        features: FeatureSet | None = None,
        items_path: str | Path | None = None,
        questions_dir: str | Path | None = None,
    ):
        self.members = {name: Path(folder) for name, folder in members.items()}
        self.config = config
        self.features = features
        self.questions_dir = None if questions_dir is None else Path(questions_dir)
        self._gallery_dir = gallery_dir
        self._relevance_path = relevance_path
        self._items_path = items_path
        self._images: tuple[list[str], np.ndarray] | None = None  # of the gallery, if known

    @property
    def has_gallery(self) -> bool:
        """Whether there are images to search in."""
        return self._gallery_dir is not None

    @property
    def has_clicks(self) -> bool:
        """Whether there are queries with clicks, and images to search in."""
        return self.has_gallery and self._relevance_path is not None

    @property
    def has_towers(self) -> bool:
        """Whether queries and images can be embedded."""
        return {TEXT_TOWER, IMAGE_TOWER} <= self.members.keys()

    @property
    def gallery_dir(self) -> Path:
        """Folder of the gallery."""
        assert self._gallery_dir is not None
        return Path(self._gallery_dir)

    @property
    def relevance_path(self) -> Path:
        """File of the clicks."""
        assert self._relevance_path is not None
        return Path(self._relevance_path)

    @functools.cached_property
    def of_all_images(self) -> tuple[list[str], np.ndarray]:
        """Ids and embeddings float32 [N, D] of the whole gallery, searched or not."""
        if self.config.gallery == "all":
            return self.encoded.image_ids, self.encoded.images
        tower = Tower(self.members[IMAGE_TOWER], ENCODE_IMAGE)
        return encode_gallery(tower, self.gallery_dir, self.config.batch_size)

    @functools.cached_property
    def questions(self) -> list[AnsweredQuestion]:
        """The evaluated questions, without their images."""
        assert self.questions_dir is not None
        return [
            question
            for split in self.config.splits
            for question in read_questions(self.questions_dir, split)
        ]

    @functools.cached_property
    def relevance(self) -> Relevance:
        """The evaluated queries and their clicks."""
        assert self._relevance_path is not None
        return read_relevance(self._relevance_path, self.config.splits)

    @functools.cached_property
    def slices(self) -> dict[str, list[str]]:
        """Value of each query, by slice."""
        return slice_values(self.relevance, self.config)

    @functools.cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Queries of each ``slice=value``, bool[Q]."""
        return slice_masks(self.slices)

    @functools.cached_property
    def encoded(self) -> EncodedData:
        """Queries and gallery, encoded by the towers."""
        return encode_data(
            self.members[TEXT_TOWER],
            self.members[IMAGE_TOWER],
            self.gallery_dir,
            self.relevance,
            self.config,
            images=self._images,
        )

    def of_split(self, split: SplitName) -> EvaluationData:
        """Return the same members and gallery with the queries of another split.

        Raises:
            UserError: the split has no queries.
        """
        config = self.config.model_copy(update={"splits": [split]})
        other = EvaluationData(self.members, config, self._gallery_dir, self._relevance_path)
        if self.has_towers and config.gallery == "all":
            other._images = (self.encoded.image_ids, self.encoded.images)
        return other

    @functools.cached_property
    def judged(self) -> JudgedData:
        """Queries and gallery, whether there are towers or not."""
        if self.has_towers:
            return self.encoded
        keep = evaluated_images(self.relevance, self.config)
        batches = read_batches(self.gallery_dir, self.config.batch_size)
        ids = [name for names, _ in batches for name in names if keep is None or name in keep]
        return judge(self.relevance, ids, self.gallery_dir, self.config)

    @functools.cached_property
    def twins(self) -> dict[str, str]:
        """Twin of each image that has one, by image id; empty without a table of items."""
        return {} if self._items_path is None else read_twins(self._items_path)

    @functools.cached_property
    def item_names(self) -> dict[str, str]:
        """What people call the images, by image id; empty without a table of items that says."""
        return {} if self._items_path is None else read_names(self._items_path)

    @functools.cached_property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """Label texts of the searched images that have some, by image id."""
        return read_labels(self.gallery_dir, keep=self.judged.image_ids)


class Evaluator(abc.ABC):
    """One way to measure a release.

    Attributes:
        needs: which members and data, a phrase for messages.
    """

    needs: ClassVar[str]

    @abc.abstractmethod
    def fits(self, data: EvaluationData) -> bool:
        """Whether members and data are there."""

    def runs_by_default(self, data: EvaluationData) -> bool:
        """Whether to measure, where it fits and nobody named the evaluators."""
        return True

    @abc.abstractmethod
    def keys(self, data: EvaluationData) -> list[str]:
        """Every metric that it yields, told before anything expensive is done.

        Raises:
            UserError: data that cannot be used.
        """

    @abc.abstractmethod
    def measure(self, data: EvaluationData) -> Measured:
        """Metrics, intervals and a part of the report.

        Raises:
            UserError: models or data that cannot be used.
        """
