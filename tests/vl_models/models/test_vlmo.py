import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_replicas, check_variables
from tests.vl_models.fusion_systems import gradients_of, make_batch, vlmo
from vl_models.errors import UserError
from vl_models.models.capabilities import EncodesImages, EncodesTexts, ScoresPairs
from vl_models.models.registry import model_config_from_dict

TASKS = [
    {"kind": "itc"},
    {"kind": "itm", "negatives": "hard"},
    {"kind": "mlm", "weight": 0.25},
    {"kind": "token_scoring", "tokens": 2, "token_width": 4, "width": 8, "heads": 2},
]


def test_variables_and_replicas():
    batch = make_batch()
    small = {"tasks": TASKS, "depth": 2, "pair_from": 1}
    check_variables(vlmo(**small), batch)
    check_replicas(lambda: vlmo(**small), batch)


@pytest.mark.parametrize(
    ("kinds", "can"),
    [
        (["mlm"], ()),
        (["itc"], (EncodesImages, EncodesTexts)),
        (["itm"], (ScoresPairs,)),
        (["itc", "itm"], (EncodesImages, EncodesTexts, ScoresPairs)),
    ],
)
def test_it_can_do_what_its_tasks_bring(kinds, can):
    model = vlmo(tasks=[{"kind": kind} for kind in kinds])
    for capability in (EncodesImages, EncodesTexts, ScoresPairs):
        assert isinstance(model, capability) == (capability in can)


def test_experts_of_pairs_are_in_the_top_blocks_alone():
    paths = [variable.path for variable in vlmo(pair_from=3).variables]
    experts = {path.split("/")[1] for path in paths if "pair_mlp" in path}
    assert experts == {"block_3"}
    assert not any(
        "pair" in variable.path for variable in vlmo(pair_from=4, tasks=[{"kind": "mlm"}]).variables
    )


def test_pairs_go_through_the_experts_of_their_modalities_below():
    found = gradients_of(vlmo(tasks=[{"kind": "itm"}]), make_batch(), "itm")
    for index in range(4):
        for expert in ("text", "image", "pair"):
            gradient = found.get(f"encoder/block_{index}/{expert}_mlp_hidden/kernel")
            reached = gradient is not None and bool(np.any(gradient))
            assert reached == ((expert == "pair") == (index >= 2)), (index, expert)


def test_padding_and_its_content_change_nothing():
    model, batch = vlmo(tasks=[{"kind": "itc"}, {"kind": "itm"}]), make_batch()
    garbage = tf.where(batch["text_mask"], batch["token_ids"], 17)
    other = {**batch, "token_ids": garbage}
    np.testing.assert_allclose(model.score_pairs(batch), model.score_pairs(other), atol=1e-6)
    np.testing.assert_allclose(model.encode_text(batch), model.encode_text(other), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_fit": "pad"}, "VLMo reads square images"),
        ({"pair_from": 5}, "pair_from is at most depth"),
        ({"tasks": [{"kind": "itm", "negatives": "hard"}]}, "needs the task itc before it"),
        ({"tasks": [{"kind": "wpa"}]}, "wpa needs the task itm before it"),
        ({"tasks": [{"kind": "itc"}, {"kind": "itc"}]}, "each kind of task once; repeated: itc"),
        (
            {"tasks": [{"kind": "vqa"}, {"kind": "nlvr2"}]},
            "a batch has the answers of one data set",
        ),
        ({"image_size": 30, "patch_size": 8}, "image_size must be a multiple"),
        ({"width": 10, "heads": 4}, "width must be a multiple of heads"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        model_config_from_dict({"system": "vlmo", "pair_from": 1, **changes})


def test_positions_are_relative_or_absolute():
    relative = [variable.path for variable in vlmo().variables]
    absolute = [v.path for v in vlmo(relative_positions=False, layer_scale=None).variables]
    assert "encoder/position_bias/image_table" in relative
    assert not any("positions" in path for path in relative)
    assert {"text_embedding/positions", "image_embedding/grid_positions"} <= set(absolute)
    assert not any("position_bias" in path or "scale" in path.split("/")[-2] for path in absolute)
