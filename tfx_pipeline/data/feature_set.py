"""Precomputed features of images and texts with their classes: the data of kind `features`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfx_pipeline.data.feature_files import NamedArray, read_array
from vl_models.errors import UserError

FILE_NAME = "features.npz"
SPLITS = ("train", "val", "test")

_HIGHEST_LABEL = 100_000  # beyond it, the array holds something else than classes


@dataclass(frozen=True)
class FeatureSet:
    """Rows of an image, a text and their classes.

    Attributes:
        image: float32[n, d_i]; rows of a missing image are 0.
        text: float32[n, d_t]; rows of a missing text are 0.
        has_image: bool[n].
        has_text: bool[n].
        label: bool[n, C], multi-hot; False everywhere without labels.
        label_names: C names.
        split: n of "train", "val", "test".
        text_label: bool[n, C'], of the texts by a label set of their own; C' is 0 without one.
        text_label_names: C' names.
    """

    image: np.ndarray
    text: np.ndarray
    has_image: np.ndarray
    has_text: np.ndarray
    label: np.ndarray
    label_names: tuple[str, ...]
    split: np.ndarray
    text_label: np.ndarray
    text_label_names: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write one .npz, renamed into place."""
        temporary = path.with_name(f".{path.name}")
        with temporary.open("wb") as stream:
            np.savez(stream, **vars(self))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> FeatureSet:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, or not of this form.
        """
        try:
            with np.load(path) as arrays:
                values = {name: arrays[name] for name in cls.__dataclass_fields__}
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{path}: not a feature file of this form ({error}); make it anew with "
                "`vlsearch data features`."
            ) from error
        for names in ("label_names", "text_label_names"):
            values[names] = tuple(str(name) for name in values[names])
        return cls(**values)

    def rows(self, *splits: str) -> np.ndarray:
        """Return the indices of the rows of some splits, ascending."""
        return np.flatnonzero(np.isin(self.split, splits))

    def counts(self) -> dict[str, int]:
        """Rows of each split."""
        return {name: int((self.split == name).sum()) for name in SPLITS}


def read_feature_set(
    files: Sequence[Path],
    *,
    image: str,
    text: str,
    label: str | None = None,
    text_label: str | None = None,
    split: str | None = None,
    classes: int | None = None,
    allow_missing: bool = False,
    val_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 1,
) -> FeatureSet:
    """Read named arrays and check them.

    Args:
        files: .npz and .mat files; each array must be in exactly one.
        image: name of the image features [n, d_i].
        text: name of the text features [n, d_t].
        label: name of the labels: whole numbers [n] (or [n, 1]) from 0, or multi-hot [n, C].
        text_label: name of the labels of the texts by a label set of their own, likewise.
        split: name of the splits, strings [n]: train, val, test.
        classes: whole numbers of ``label`` must be below it; without it, the labels that occur
            count.
        allow_missing: whether a row that is NaN throughout is a missing modality.
        val_share: without a row of val, this share of the train rows becomes it.
        test_share: without an array of splits, this share of all rows becomes test.
        seed: of the rows that are drawn for val and test.

    Raises:
        UserError: names file, array and row of what cannot be used.
    """
    images, texts = read_array(files, image), read_array(files, text)
    image_rows, has_image = _features(images, allow_missing)
    text_rows, has_text = _features(texts, allow_missing)
    named = [(images, len(image_rows)), (texts, len(text_rows))]
    rows = len(image_rows)
    found: dict[str | None, tuple[np.ndarray, tuple[str, ...]]] = {}
    for key, highest in ((label, classes), (text_label, None)):
        if key is None:
            continue
        labels = read_array(files, key)
        found[key] = _labels(labels, highest)
        named.append((labels, len(found[key][0])))
    splits = None
    if split is not None:
        splits = read_array(files, split)
        parts = _splits(splits)
        named.append((splits, len(parts)))
    _same_length(named)
    nothing = ~(has_image | has_text)
    if nothing.any():
        raise UserError(
            f"{images.where}, {texts.where}: row {_first(nothing)} has neither an image nor a "
            "text. Remove it."
        )
    none = (np.zeros((rows, 0), bool), ())
    matrix, names = found.get(label, none)
    text_matrix, text_names = found.get(text_label, none)
    if splits is None:
        parts = draw_splits(np.full(rows, "train", object), val_share, test_share, seed)
    else:
        parts = draw_splits(parts, val_share, 0.0, seed)
    if not (parts == "train").any():
        where = "the data" if splits is None else splits.where
        raise UserError(f"{where}: no row belongs to the split train, so nothing can be learned.")
    return FeatureSet(
        image=image_rows,
        text=text_rows,
        has_image=has_image,
        has_text=has_text,
        label=matrix,
        label_names=names,
        split=parts.astype(str),
        text_label=text_matrix,
        text_label_names=text_names,
    )


def draw_splits(splits: np.ndarray, val_share: float, test_share: float, seed: int) -> np.ndarray:
    """Move random rows to test and, where no row is val, random train rows to val.

    Args:
        splits: n of "train", "val", "test".
        val_share: of the train rows.
        test_share: of all rows; 0 leaves test as it is.
        seed: of the rows that are drawn.
    """
    generator = np.random.default_rng(seed)
    drawn = splits.astype(object)
    if test_share:
        drawn[generator.permutation(len(drawn))[: round(test_share * len(drawn))]] = "test"
    if not (drawn == "val").any():
        train = np.flatnonzero(drawn == "train")
        drawn[generator.permutation(train)[: round(val_share * len(train))]] = "val"
    return drawn


def _features(array: NamedArray, allow_missing: bool) -> tuple[np.ndarray, np.ndarray]:
    """Features float32[n, d] and whether a row is there."""
    values = array.values
    if values.ndim != 2 or values.dtype.kind not in "fiub" or 0 in values.shape:
        raise UserError(
            f"{array.where} must be a matrix of numbers, one row per item. Received: shape "
            f"{values.shape}, dtype {values.dtype}."
        )
    values = values.astype(np.float32)
    bad = ~np.isfinite(values)
    present = np.ones(len(values), bool)
    if allow_missing:
        present = ~np.isnan(values).all(axis=1)
        bad &= present[:, None]
    if bad.any():
        row = _first(bad.any(axis=1))
        column = _first(bad[row])
        remedy = "Remove or repair the row"
        if not allow_missing and np.isnan(values[row]).all():
            remedy += "; if it stands for a missing image or text, give --allow-missing"
        raise UserError(
            f"{array.where}, row {row}, column {column} (counted from 0) is "
            f"{values[row, column]}. {remedy}."
        )
    return np.where(present[:, None], values, 0.0).astype(np.float32), present


def _labels(array: NamedArray, classes: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Multi-hot bool[n, C] and the names of the classes."""
    values = array.values
    if values.dtype.kind in "OUS":
        found = np.array([str(value) for value in values.ravel()])
        names, index = np.unique(found, return_inverse=True)
        return np.eye(len(names), dtype=bool)[index], tuple(str(name) for name in names)
    if values.dtype.kind not in "fiub":
        raise UserError(f"{array.where} must hold numbers. Received: dtype {values.dtype}.")
    if values.ndim == 2 and 1 not in values.shape:
        return _multi_hot(array), tuple(str(place) for place in range(values.shape[1]))
    if values.ndim > 2:
        raise UserError(
            f"{array.where} must be whole numbers [n] or multi-hot [n, C]. Received: shape "
            f"{values.shape}."
        )
    numbers = values.ravel().astype(np.float64)
    highest = _HIGHEST_LABEL if classes is None else classes - 1
    with np.errstate(invalid="ignore"):
        bad = ~((numbers >= 0) & (numbers <= highest) & (numbers == np.floor(numbers)))
    if bad.any():
        row = _first(bad)
        raise UserError(
            f"{array.where}, row {row} (counted from 0) is {numbers[row]:g}: a label is a whole "
            f"number from 0 to {highest}. Correct the row, or remove it."
        )
    if classes is not None:
        return np.eye(classes, dtype=bool)[numbers.astype(int)], tuple(map(str, range(classes)))
    occurring, index = np.unique(numbers.astype(int), return_inverse=True)
    return np.eye(len(occurring), dtype=bool)[index], tuple(str(n) for n in occurring)


def _multi_hot(array: NamedArray) -> np.ndarray:
    bad = np.asarray(~np.isin(array.values, (0, 1)))
    if bad.any():
        row, column = (int(place) for place in np.argwhere(bad)[0])
        raise UserError(
            f"{array.where}, row {row}, column {column} (counted from 0) is "
            f"{array.values[row, column]}: multi-hot labels are 0 or 1."
        )
    return array.values.astype(bool)


def _splits(array: NamedArray) -> np.ndarray:
    values = array.values.ravel()
    names = np.array([_decoded(value).strip() for value in values], object)
    bad = ~np.isin(names.astype(str), SPLITS)
    if bad.any():
        row = _first(bad)
        raise UserError(
            f"{array.where}, row {row} (counted from 0) is {names[row]!r}: a split is one of "
            f"{', '.join(SPLITS)}."
        )
    return names


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _same_length(arrays: Sequence[tuple[NamedArray, int]]) -> None:
    if len({rows for _, rows in arrays}) > 1:
        told = "; ".join(f"{array.where} has {rows} rows" for array, rows in arrays)
        raise UserError(f"The arrays do not belong together: {told}. Every row is one item.")


def _first(mask: np.ndarray) -> int:
    return int(mask.argmax())
