"""Export of the towers as SavedModels: raw input, plain tensors, one vector per row.

They load with the session loader that TF Serving uses. That loader restores only variables
that a `tf.Module` holds directly, which Keras' own objects do not.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from vl_models.images import decode_and_crop
from vl_models.models.base import VisionLanguageModel
from vl_models.text.tokenizer import Tokenizer
from vl_models.text.vocabulary import VOCABULARY_FILE

TEXT_TOWER, IMAGE_TOWER = "text_tower", "image_tower"
EXPERIMENT_ASSET = "assets.extra/experiment.yaml"


class _Tower(tf.Module):
    """Holds what a signature needs: variables, lookup tables and asset files."""

    def __init__(
        self, variables: Sequence[tf.Variable], tables: Sequence[Any], assets: Sequence[Path]
    ) -> None:
        super().__init__()
        self.tower_variables = list(variables)
        self.tables = list(tables)
        self.assets = [tf.saved_model.Asset(str(path)) for path in assets]


def export_towers(
    model: VisionLanguageModel,
    tokenizer: Tokenizer,
    out_dir: str | os.PathLike[str],
    *,
    experiment_yaml: str | None = None,
) -> dict[str, Path]:
    """Write both towers of a dual encoder, each in one piece.

    ``text_tower``: signatures ``encode_text`` and ``serving_default``, query string [B] to
    embedding float32 [B, D]. ``image_tower``: ``encode_image`` and ``serving_default``,
    image_bytes string [B] (JPEG or PNG) to embedding float32 [B, D]. Tokeniser and decoder
    are part of the graphs; the vocabulary is beside it as ``assets/vocabulary.txt``. An
    earlier export in the same place is replaced.

    Args:
      model: built; its configuration has an ``image_size``.
      tokenizer: the one that the model was trained with.
      out_dir: the folder that gets the two folders.
      experiment_yaml: the experiment's configuration, kept in ``assets.extra/``.

    Returns:
      Folder of each tower by its name.
    """
    image_size = model.get_config()["image_size"]

    def encode_text(query: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": model.encode_text({**tokenizer.tokenize(query)})}

    def encode_image(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(
            lambda encoded: decode_and_crop(encoded, image_size),
            image_bytes,
            fn_output_signature=tf.TensorSpec([image_size, image_size, 3], tf.uint8),
        )
        return {"embedding": model.encode_image({"image": images})}

    out_dir = Path(out_dir)
    vocabulary = "".join(f"{token}\n" for token in tokenizer.vocabulary)
    return {
        TEXT_TOWER: _save(
            out_dir / TEXT_TOWER,
            ("encode_text", encode_text, "query"),
            experiment_yaml,
            tables=tokenizer.resources,
            assets={VOCABULARY_FILE: vocabulary},
        ),
        IMAGE_TOWER: _save(
            out_dir / IMAGE_TOWER,
            ("encode_image", encode_image, "image_bytes"),
            experiment_yaml,
        ),
    }


def _save(
    target: Path,
    signature: tuple[str, Callable[[tf.Tensor], dict[str, tf.Tensor]], str],
    experiment_yaml: str | None,
    *,
    tables: Sequence[Any] = (),
    assets: Mapping[str, str] | None = None,
) -> Path:
    """Write one tower beside ``target``, then rename it into place."""
    name, function, input_name = signature
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        files = {Path(temporary) / asset: text for asset, text in (assets or {}).items()}
        for path, text in files.items():
            path.write_bytes(text.encode("utf-8"))
        spec = tf.TensorSpec([None], tf.string, name=input_name)
        concrete = tf.function(function).get_concrete_function(spec)
        tower = _Tower(concrete.variables, tables, list(files))
        staged = Path(temporary) / target.name
        tf.saved_model.save(
            tower, str(staged), signatures={name: concrete, "serving_default": concrete}
        )
        if experiment_yaml is not None:
            path = staged / EXPERIMENT_ASSET
            path.parent.mkdir()
            path.write_text(experiment_yaml, encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        staged.replace(target)
    return target
