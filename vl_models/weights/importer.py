"""Tensors of another program's checkpoint as values of a model's variables, all checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from vl_models.errors import UserError
from vl_models.models.base_config import ModelConfig
from vl_models.models.registry import build_model
from vl_models.training.patterns import matches
from vl_models.weights.layouts import find_layout
from vl_models.weights.read import TensorFiles
from vl_models.weights.report import ImportedVariable, ImportResult, Status
from vl_models.weights.rules import (
    Match,
    Tower,
    WeightLayout,
    blocks,
    match_names,
    refused,
    tower_blocks,
)

TOWERS: dict[str, Tower] = {
    "image_encoder": "image",
    "image_projection": "image",
    "text_encoder": "text",
    "text_projection": "text",
}
_INSPECT = "`vlsearch weights inspect` prints the model section that fits the file."


def import_weights(
    paths: Sequence[Path],
    config: ModelConfig,
    *,
    layout: str = "auto",
    allow_missing: Sequence[str] = (),
    learned_vocabulary: bool = False,
) -> ImportResult:
    """Map the tensors of a checkpoint onto the variables of a model.

    Variables outside of the towers (queues, prefixes, a temperature that the file lacks) keep
    their initial values. Text positions that are longer than the model's are cut to its first
    ones, which are the same positions; others of another length are kept as they are, for a
    warm start to resize.

    Args:
        paths: safetensors files, shards, or an index.
        config: of the model, with its ``vocabulary_size``.
        layout: name of the layout, or "auto".
        allow_missing: patterns of variables that may stay without a value.
        learned_vocabulary: whether the experiment's token ids are its own, so that the file's
            token embeddings would be those of other words.

    Raises:
        UserError: another kind of tower, another shape, or a tower variable without a value.
    """
    tensors = TensorFiles(paths)
    found = find_layout(layout, tensors)
    match = match_names(found, list(tensors))
    variables = {variable.path: tuple(variable.shape) for variable in build_model(config).variables}
    towers: tuple[Tower, ...] = ("image", "text")
    wanted = {
        tower: any(
            TOWERS.get(path.split("/")[0]) == tower and not matches(path, allow_missing)
            for path in variables
        )
        for tower in towers
    }
    wanted["model"] = bool(found.systems)
    _check_towers(found, tensors, config, wanted)
    embedding = found.token_embedding
    if (
        learned_vocabulary
        and embedding in match.sources
        and embedding in variables
        and not matches(embedding, allow_missing)
    ):
        raise UserError(
            f"The file's token embeddings ({match.sources[embedding].names[0]}) belong to "
            "its own vocabulary, and this experiment learns another. Name the checkpoint's with "
            "vocabulary: {kind: …, pretrained: …}, or leave the embeddings out: "
            f"--allow-missing '{embedding}'."
        )
    result = ImportResult(found.name)
    without = (embedding,) if learned_vocabulary else ()
    problems = []
    for path, shape in variables.items():
        optional = not matches(path, found.required) or matches(path, allow_missing)
        entry, problem = _entry(path, shape, found, match, tensors, optional, without, result)
        result.entries.append(entry)
        if problem:
            problems.append(problem)
    problems += _unmet_demands(found, match, variables)
    if problems:
        more = f"\n… and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise UserError(
            f"{len(problems)} variables of the model do not fit {_files(tensors)} "
            f"(layout {found.name}):\n" + "\n".join(problems[:8]) + more + f"\n{_INSPECT}"
        )
    used = {name for entry in result.entries for name in entry.names}
    matched = {name for source in match.sources.values() for name in source.names.values()}
    known = used | (set(tensors) - set(match.unmatched) - matched)
    result.unmatched = [name for name in tensors if name not in known]
    result.warnings = [
        *_depth_warnings(match, config, wanted),
        *_fact_warnings(found, tensors, config, wanted),
    ]
    return result


def write_weights(result: ImportResult, path: Path) -> None:
    """Write the values, by variable path, as one safetensors file, in one piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        safetensors.numpy.save_file(
            {key: np.asarray(value, order="C") for key, value in result.values.items()},
            temporary,
            metadata={"layout": result.layout},
        )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _entry(
    path: str,
    shape: tuple[int, ...],
    layout: WeightLayout,
    match: Match,
    tensors: TensorFiles,
    optional: bool,
    without: Sequence[str],
    result: ImportResult,
) -> tuple[ImportedVariable, str]:
    """One variable's row of the report, and what is wrong with it, if anything.

    Its value is put into ``result``.
    """
    source = match.sources.get(path)
    if source is None and matches(path, layout.zeros):
        result.values[path] = np.zeros(shape, np.float32)
        return ImportedVariable(path, shape, "imported", note="zero: the file has none"), ""
    if source is None:
        problem = "" if optional else f"- {path} {list(shape)}: the file has no value."
        return ImportedVariable(path, shape, "missing"), problem
    if not source.complete:
        note = f"only {', '.join(source.names.values())} of {source.parts} parts"
        problem = "" if optional else f"- {path} {list(shape)}: the file has {note}."
        return ImportedVariable(path, shape, "missing", note=note), problem
    names = tuple(source.names[part] for part in range(source.parts))
    stored = tuple(tensors[name].shape for name in names)
    try:
        value = source.value(tensors.read)
    except (ValueError, IndexError):  # shapes that a conversion is not made for
        value = None
    status: Status = "imported"
    note = ""
    if value is not None and path not in without and value.shape != shape:
        value, status, note = _other_length(path, value, shape, layout, result)
    if path in without or value is None:
        if optional:
            return ImportedVariable(path, shape, "left out", (), stored, note), ""
        shapes = ", ".join(f"{n} {list(s)}" for n, s in zip(names, stored, strict=True))
        return (
            ImportedVariable(path, shape, "missing", (), stored),
            f"- {shapes} does not fit {path} {list(shape)}: {_remedy(path, layout)}",
        )
    result.values[path] = np.ascontiguousarray(value, np.float32).reshape(value.shape)
    return ImportedVariable(path, shape, status, names, stored, note), ""


def _unmet_demands(
    layout: WeightLayout, match: Match, variables: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Return what the file has and the model must have and lacks, with what to set."""
    return [
        f"- {next(iter(match.sources[demand.path].names.values()))}: the model has no "
        f"{demand.path}: {demand.remedy}."
        for demand in layout.demands
        if demand.path in match.sources and demand.path not in variables
    ]


def _other_length(
    path: str,
    value: np.ndarray,
    shape: tuple[int, ...],
    layout: WeightLayout,
    result: ImportResult,
) -> tuple[np.ndarray | None, Status, str]:
    """Return what becomes of a value of another shape: only positions may have another length."""
    note = ""
    if path == layout.bias_table and shape[1] > value.shape[1] and shape[1] % value.shape[1] == 0:
        blocks = shape[1] // value.shape[1]
        value, note = np.tile(value, (1, blocks)), f"the same in {blocks} blocks"
        if value.shape == shape:
            return value, "imported", note
    if value.ndim != 2 or len(shape) != 2 or value.shape[1] != shape[1]:
        return None, "missing", ""
    if path == layout.text_positions and value.shape[0] > shape[0]:
        return value[: shape[0]], "cropped", f"the first {shape[0]} of {value.shape[0]} positions"
    kinds = {
        layout.text_positions: "sequence",
        layout.image_positions: "grid",
        layout.bias_table: "relative_grid",
    }
    if path in kinds:
        result.resize[path] = kinds[path]
        resized = f"{value.shape[0]} positions, resized by the warm start"
        return value, "other length", ", ".join(filter(None, (resized, note)))
    return None, "missing", ""


def _check_towers(
    layout: WeightLayout, tensors: TensorFiles, config: ModelConfig, wanted: Mapping[Tower, bool]
) -> None:
    """Refuse towers that cannot be represented, or that are configured as another kind."""
    if layout.systems and config.system not in layout.systems:
        raise UserError(
            f"Files of layout {layout.name} hold a model of system {' or '.join(layout.systems)}. "
            f"Received: model.system={config.system}. {_INSPECT}"
        )
    if not any(wanted.values()):
        raise UserError(
            f"Files of layout {layout.name} hold the towers of dual encoders, and system "
            f"'{config.system}' has none. {_INSPECT}"
        )
    for tower, (name, reason) in refused(layout, list(tensors)).items():
        if tower == "model":
            raise UserError(
                f"The file is {reason} (tensor '{name}'), which system '{config.system}' cannot "
                "be. Take another checkpoint."
            )
        if wanted[tower]:
            raise UserError(
                f"The file's {tower} tower is {reason} (tensor '{name}'), which no {tower} encoder "
                f"here is. Take another checkpoint, or the other tower alone: "
                f"--allow-missing '{tower}_*'."
            )
    for tower, kind in layout.kinds.items():
        section = getattr(config, tower, None)
        if wanted[tower] and section is not None and section.kind != kind:
            raise UserError(
                f"The {tower} towers of layout {layout.name} need model.{tower}.kind: {kind}. "
                f"Received: {section.kind}. {_INSPECT} To leave the tower out: "
                f"--allow-missing '{tower}_*'."
            )


def _depth_warnings(match: Match, config: ModelConfig, wanted: Mapping[Tower, bool]) -> list[str]:
    """Towers of the file that are deeper than the model's."""
    warnings = []
    for tower in wanted:
        section, place = _section(config, tower)
        depth = blocks(match.sources, tower_blocks(tower))
        if wanted[tower] and depth > getattr(section, "depth", depth):
            what = "" if tower == "model" else f"'s {tower} tower"
            warnings.append(
                f"The file{what} has {depth} blocks, the model takes the first "
                f"{section.depth}: set {place}.depth."
            )
    return warnings


def _fact_warnings(
    layout: WeightLayout, tensors: TensorFiles, config: ModelConfig, wanted: Mapping[Tower, bool]
) -> list[str]:
    """Return what differs from how these models are made and no tensor tells."""
    warnings = []
    folder = tensors.paths[0].parent
    certain = not layout.caveat or (folder / layout.configuration).is_file()
    for tower, facts in layout.facts(folder).items():
        section, place = _section(config, tower)
        if section is None or not wanted[tower]:
            continue
        expected = dict(facts)
        if "head_width" in expected:  # of a transformer
            expected["heads"] = max(1, section.width // expected.pop("head_width"))
        for key, value in expected.items():
            if getattr(section, key) != value:
                shown = list(value) if isinstance(value, tuple) else value
                received = getattr(section, key)
                received = list(received) if isinstance(received, tuple) else received
                caveat = "" if certain or key != "activation" else f", {layout.caveat}"
                warnings.append(
                    f"{place}.{key} is {received}; models of this layout have {shown}{caveat}."
                )
    return warnings


def _section(config: ModelConfig, tower: Tower) -> tuple[Any, str]:
    """The part of a configuration that is of a tower, if there is one, and its name."""
    if tower == "model":
        return config, "model"
    return getattr(config, tower, None), f"model.{tower}"


def _remedy(path: str, layout: WeightLayout) -> str:
    """What to set where a shape does not fit."""
    if layout.systems:
        if path == layout.token_embedding:
            return (
                "rows are the vocabulary (vocabulary.pretrained must be the checkpoint's), columns "
                "model.width."
            )
        if path == layout.bias_table:
            return "set model.image_size, model.patch_size and model.heads to the file's."
        return "set model.width, model.mlp_ratio, model.patch_size and the answers to the file's."
    if path == layout.token_embedding:
        return (
            "rows are the vocabulary (vocabulary.pretrained must be the checkpoint's), columns "
            "model.text.width."
        )
    tower = TOWERS[path.split("/")[0]]
    if path.endswith("_projection/kernel"):
        return f"set model.{tower}.width and model.embedding_dim to the file's."
    if path.startswith("image_encoder/patch_embedding/"):
        return "set model.image.patch_size and model.image.width to the file's."
    return f"set model.{tower}.width and model.{tower}.mlp_ratio to the file's."


def _files(tensors: TensorFiles) -> str:
    first = str(tensors.paths[0])
    return first if len(tensors.paths) == 1 else f"{first} and {len(tensors.paths) - 1} more"
