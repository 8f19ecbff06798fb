"""Evaluation of an image tokeniser: what its codes keep of the images, and which are used."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import yaml

from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.encoded_data import evaluated_images
from tfx_pipeline.evaluation.gallery import read_batches
from tfx_pipeline.evaluation.metric_keys import (
    CODE_PERPLEXITY,
    RECONSTRUCTION_MSE,
    RECONSTRUCTION_PSNR,
    USED_CODES,
)
from tfx_pipeline.evaluation.result import Measured, ReconstructedImage, Reconstructions
from tfx_pipeline.evaluation.zero_shot import mean_with_interval
from tfx_pipeline.release.signatures import read_signatures
from vl_models.errors import UserError
from vl_models.export import EXPERIMENT_ASSET
from vl_models.layers.codebook import perplexity
from vl_models.members import IMAGE_TOKENIZER, RECONSTRUCT, TOKENIZE
from vl_models.metrics.retrieval import PerQuery

# Of an image that comes back as it was; that of the least possible error is about 80 dB.
_EXACT = 99.0


class ImageTokens(Evaluator):
    """Tokenises and reconstructs the gallery, or the images clicked in the evaluated splits.

    `RECONSTRUCTION_MSE` is the mean squared error of pixels as shares of 255, `RECONSTRUCTION_PSNR`
    the mean over images of 10 log₁₀(1 / error) in dB. `CODE_PERPLEXITY` is the exponential of the
    entropy of the codes, `USED_CODES` the share of the codebook that occurs at all.
    """

    needs = "an image_tokenizer with reconstruct, and a gallery"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        folder = data.members.get(IMAGE_TOKENIZER)
        return folder is not None and data.has_gallery and RECONSTRUCT in read_signatures(folder)

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`."""
        return [RECONSTRUCTION_MSE, RECONSTRUCTION_PSNR, CODE_PERPLEXITY, USED_CODES]

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: no gallery, or no image of the evaluated splits in it.
        """
        config, folder = data.config, data.members[IMAGE_TOKENIZER]
        size = _codebook_size(folder)
        counts = np.zeros(size, np.int64)
        ids: list[str] = []
        errors: list[float] = []
        draw = np.random.default_rng(config.bootstrap.seed)
        shown: list[tuple[float, int, ReconstructedImage]] = []
        worst: list[tuple[float, int, ReconstructedImage]] = []
        for image_id, codes, original, reconstruction in _reconstructed(data, folder):
            counts += np.bincount(codes, minlength=size)
            error = float(np.mean(np.square((original - reconstruction.astype(np.float64)) / 255)))
            place = len(ids)
            ids.append(image_id)
            errors.append(error)
            before, after = (tf.io.encode_png(x).numpy() for x in (original, reconstruction))
            image = ReconstructedImage(image_id, before, after, _psnr(error))
            # The place tells equal keys apart; pictures have no order.
            _keep(shown, (draw.random(), place, image), config.report.queries)
            _keep(worst, (error, place, image), config.report.failures)
        if not ids:
            raise UserError(
                "The gallery holds no image of the evaluated splits. "
                f"Received: evaluate.splits={config.splits}"
            )
        columns = {
            RECONSTRUCTION_MSE: np.array(errors),
            RECONSTRUCTION_PSNR: np.array([_psnr(error) for error in errors]),
        }
        found = {
            key: mean_with_interval(PerQuery(values, np.ones(len(values))), config)
            for key, values in columns.items()
        }
        return Measured(
            metrics={
                **{key: value for key, (value, _) in found.items()},
                CODE_PERPLEXITY: float(perplexity(tf.constant(counts, tf.float32))),
                USED_CODES: float(np.mean(counts > 0)),
            },
            intervals={key: interval for key, (_, interval) in found.items()},
            counts={"tokenized_images": len(ids), "codes": size},
            per_query=pa.table(
                {
                    "direction": pa.array(["image_to_image"] * len(ids), pa.string()),
                    "key": pa.array(ids, pa.string()),
                    **{key: pa.array(values) for key, values in columns.items()},
                }
            ),
            headline=self.keys(data),
            note=f"{len(ids):,} images, each made again from its codes, of which there are "
            f"{size:,}. Errors are of pixels as shares of 255. Intervals over images.",
            sections=[
                Reconstructions(
                    "Reconstructions",
                    _in_order(shown),
                    "A random sample: above as the model reads it, below from its codes.",
                ),
                Reconstructions("Worst reconstructions", _in_order(worst)),
            ],
        )


def _reconstructed(
    data: EvaluationData, folder: Path
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (image id, codes [h·w], pixels, pixels made of the codes)."""
    # The signatures' variables live as long as the loaded object does.
    loaded: Any = tf.saved_model.load(str(folder))
    tokenize, reconstruct = loaded.signatures[TOKENIZE], loaded.signatures[RECONSTRUCT]
    keep = evaluated_images(data.relevance, data.config) if data.has_clicks else None
    for ids, encoded in read_batches(data.gallery_dir, data.config.batch_size):
        rows = [row for row, name in enumerate(ids) if keep is None or name in keep]
        if not rows:
            continue
        image_bytes = tf.constant(encoded[rows])
        codes = tokenize(image_bytes=image_bytes)["tokens"].numpy()
        made = reconstruct(image_bytes=image_bytes)
        pixels = made["image"].numpy(), made["reconstruction"].numpy()
        yield from zip((ids[row] for row in rows), codes, *pixels)


def _codebook_size(folder: Path) -> int:
    """Number of codes, as the experiment says that is kept beside the model."""
    asset = folder / EXPERIMENT_ASSET
    if not asset.is_file():
        raise UserError(f"{folder} lacks {EXPERIMENT_ASSET}, which tells how many codes there are.")
    return int(yaml.safe_load(asset.read_text(encoding="utf-8"))["model"]["codebook"]["size"])


def _psnr(error: float) -> float:
    return _EXACT if error == 0.0 else min(_EXACT, -10.0 * float(np.log10(error)))


def _keep(heap: list[Any], item: Any, count: int) -> None:
    """Keep the ``count`` largest items."""
    heapq.heappush(heap, item)
    if len(heap) > count:
        heapq.heappop(heap)


def _in_order(heap: list[tuple[float, int, ReconstructedImage]]) -> tuple[ReconstructedImage, ...]:
    return tuple(image for _, _, image in sorted(heap, key=lambda item: item[:2], reverse=True))
