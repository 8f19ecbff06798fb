import pytest

from tests.vl_models.weights import checkpoints
from tests.vl_models.weights.test_layouts import FILES, write
from vl_models.models.registry import model_config_from_dict
from vl_models.weights.describe import experiment_sections
from vl_models.weights.importer import import_weights
from vl_models.weights.read import TensorFiles
from vl_models.weights.report import import_table, tensor_table


@pytest.mark.parametrize("name", ["huggingface_clip", "chinese_clip", "openai_clip"])
def test_the_described_model_takes_every_tensor(name, tmp_path):
    path = write(FILES[name][1], tmp_path / "model.safetensors")
    sections = experiment_sections(TensorFiles([path]))
    config = model_config_from_dict(
        {**sections["model"], "vocabulary_size": checkpoints.VOCABULARY}
    )
    result = import_weights([path], config)
    assert result.warnings == [] and result.unmatched == [] and result.resize == {}
    assert result.count("imported") == len(result.entries)
    kind = "wordpiece" if name == "chinese_clip" else "clip_bpe"
    assert sections["vocabulary"]["kind"] == kind


def test_sizes_are_read_off_the_shapes(tmp_path):
    path = write(FILES["openai_clip"][1], tmp_path / "model.safetensors")
    model = experiment_sections(TensorFiles([path]))["model"]
    assert (model["image_size"], model["max_length"], model["embedding_dim"]) == (16, 10, 6)
    assert model["image"]["patch_size"] == 8 and model["image"]["width"] == 8
    assert model["text"]["depth"] == 2 and model["text"]["mlp_ratio"] == 4.0
    assert model["text"]["causal"] is True and model["text"]["pooling"] == "eot"


def test_tables_show_equal_blocks_once(tmp_path):
    path = write(FILES["openai_clip"][1], tmp_path / "model.safetensors")
    rows = [cell.plain for cell in tensor_table(TensorFiles([path])).columns[0].cells]
    assert "visual.transformer.resblocks.*.ln_1.bias (2 times)" in rows
    table = import_table(import_weights([path], checkpoints.model_config()))
    columns = ([cell.plain for cell in column.cells] for column in table.columns)
    cells = list(zip(*columns, strict=True))
    assert (
        "image_encoder/block_*/attention/qkv/kernel (2 times)",
        "8 × 24",
        "imported",
        "visual.transformer.resblocks.*.attn.in_proj_weight",
    ) in cells
