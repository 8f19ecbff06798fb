"""The warm-up requests that are shipped with exported models."""

from __future__ import annotations

from pathlib import Path

from serving.release import model_folders
from serving.warmup import write_warmup
from tfx_pipeline.release.samples import sample_examples, sample_inputs, with_image_tokens
from tfx_pipeline.release.signatures import read_signatures
from vl_models.members import COLD

_BATCH_SIZES = (1, 4)  # graphs specialise on shapes: a single query, and a batch


def write_warmup_requests(models_dir: Path, pattern: str) -> None:
    """Add warm-up requests to every model that is there, made of real queries and images.

    Args:
        models_dir: holds the exported members, a folder each.
        pattern: record files of Examples.

    Raises:
        UserError: a signature has an input that Examples hold nothing for.
    """
    examples = sample_examples(pattern, max(_BATCH_SIZES))
    for name, folder in model_folders(models_dir).items():
        requests = []
        samples = with_image_tokens(folder, examples)
        for signature, described in sorted(read_signatures(folder).items()):
            if signature.startswith(COLD):
                continue
            inputs = sample_inputs(name, described.inputs, samples)
            requests += [
                (signature, {key: values[:size] for key, values in inputs.items()})
                for size in _BATCH_SIZES
                if inputs
            ]
        write_warmup(folder, requests, name)
