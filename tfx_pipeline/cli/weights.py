"""`vlsearch weights`: checkpoints of other programs as a starting point for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfx_pipeline.cli.places import ConfigOption, override_option

app = typer.Typer(no_args_is_help=True, help="Weights of other programs.")

_FILES = typer.Argument(
    metavar="FILE...", help="safetensors: one file, all shards, or the index of the shards."
)
_LAYOUT = typer.Option(
    "--layout",
    help="auto, open_clip, openai_clip, chinese_clip, or huggingface_clip, _vilt or _beit.",
)


@app.command("import")
def import_(
    files: Annotated[list[Path], _FILES],
    config: ConfigOption,
    output: Annotated[Path, typer.Option("--output", help="File to write, .safetensors.")],
    layout: Annotated[str, _LAYOUT] = "auto",
    overrides: Annotated[list[str] | None, override_option("model.image_size=224")] = None,
    allow_missing: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Variables that may stay without a value."),
    ] = None,
) -> None:
    """Bring a checkpoint into the variables of an experiment's model.

    Every shape is checked. What is written is what `train.warm_start: {from: FILE}` loads.
    """
    from tfx_pipeline.config import ExperimentConfig
    from vl_models.input.config import DataFacts
    from vl_models.terminal import console, echo, styled
    from vl_models.text.factory import pretrained_tokenizer
    from vl_models.text.vocabulary import MASK, SPECIAL_TOKENS
    from vl_models.weights.importer import import_weights, write_weights
    from vl_models.weights.report import import_table

    experiment = ExperimentConfig.load(config, list(overrides or []))
    vocabulary, length = experiment.vocabulary, experiment.model.max_length
    size = vocabulary.size
    mask_id: int | None = SPECIAL_TOKENS.index(MASK)
    if vocabulary.pretrained is not None:
        tokenizer = pretrained_tokenizer(vocabulary.kind, vocabulary.pretrained, length)
        size, mask_id = tokenizer.vocabulary_size, tokenizer.mask_id
    facts = DataFacts(vocabulary_size=size, mask_id=mask_id)
    result = import_weights(
        files,
        experiment.model.completed(facts),
        layout=layout,
        allow_missing=list(allow_missing or []),
        learned_vocabulary=vocabulary.pretrained is None,
    )
    write_weights(result, output)
    console().print(import_table(result))
    for warning in result.warnings:
        echo(styled("Check:", "bold yellow", f" {warning}"))
    echo(f"{output}: {len(result.values)} variables. To start from them:")
    echo(result.warm_start(str(output)))


@app.command()
def inspect(
    files: Annotated[list[Path], _FILES],
    layout: Annotated[str, _LAYOUT] = "auto",
) -> None:
    """List names, shapes and types of a checkpoint, its layout, and the model that fits."""
    import yaml

    from vl_models.errors import UserError
    from vl_models.terminal import console, echo
    from vl_models.weights.describe import experiment_sections
    from vl_models.weights.layouts import find_layout
    from vl_models.weights.read import TensorFiles
    from vl_models.weights.report import tensor_table

    tensors = TensorFiles(files)
    console().print(tensor_table(tensors))
    try:
        found = find_layout(layout, tensors).name
    except UserError as error:
        echo(str(error))
        return
    sections = yaml.safe_dump(experiment_sections(tensors, found), sort_keys=False)
    echo(f"WeightLayout: {found}. An experiment that fits has:\n{sections}")
