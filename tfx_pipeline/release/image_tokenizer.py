"""The image tokenisers that a model's targets come from, as part of what a training is made of."""

from __future__ import annotations

from tfx_pipeline.fingerprint import fingerprint_file
from vl_models.models.base_config import ModelConfig


def fingerprint_image_tokenizers(model: ModelConfig) -> str:
    """Fingerprints of the weights that give the targets of a model's tasks; "" without such.

    A training that goes on, or a result that is kept, must not be one of other targets.

    Raises:
        UserError: there is no tokeniser where a task has one.
    """
    found = (getattr(task, "tokenizer", None) for task in getattr(model, "tasks", ()))
    places = [place for place in found if place is not None]
    if not places:
        return ""
    # Slow to import, and most models have none.
    from vl_models.tasks.image_codes import WEIGHTS_FILE, find_weights

    return "".join(
        fingerprint_file(find_weights(place) / WEIGHTS_FILE) for place in places if place
    )
