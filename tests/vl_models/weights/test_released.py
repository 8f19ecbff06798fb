import numpy as np
import pytest
import safetensors.numpy

from tests.vl_models.models.feature_batch import SIDES
from tests.vl_models.test_export import TOKENIZER, make_model
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.training.checkpoint import by_path
from vl_models.training.config import WarmStartConfig
from vl_models.training.warm_start import warm_start
from vl_models.weights.released import WEIGHTS_FILE, released_variables, write_weights

WENLAN = {
    "system": "wenlan",
    "embedding_dim": 4,
    "image": {"kind": "cnn", "widths": [8], "blocks": [0]},
    "text": {"kind": "transformer", "width": 8, "depth": 1, "heads": 1},
    "image_size": 8,
    "max_length": 6,
    "vocabulary_size": 8,
    "queue_size": 4,
}


@pytest.fixture
def wenlan():
    return build_model(model_config_from_dict(WENLAN))


def test_queues_and_momentum_encoders_are_kept_back(wenlan):
    released = released_variables(wenlan)
    every = {variable.path for variable in wenlan.variables}
    kept_back = {path.partition("/")[0] for path in every - released.keys()}
    queues = {"image_queue", "text_queue"}
    assert queues <= kept_back
    assert all(name in queues or name.startswith("momentum_") for name in kept_back)
    assert {v.path for v in wenlan.trainable_variables} <= released.keys()


def test_statistics_of_the_data_are_no_trainable_weights_but_part_of_what_was_learnt():
    model = build_model(model_config_from_dict({"system": "acmr", "embedding_dim": 4, **SIDES}))
    statistics = {v.path for v in model.variables if v.path.startswith("image_encoder/")}
    statistics -= {variable.path for variable in model.trainable_variables}
    assert statistics and statistics <= released_variables(model).keys()
    # How many instances an adversary has seen belongs to its training.
    assert released_variables(model).keys() < {variable.path for variable in model.variables}


def test_a_folder_holds_float32_configuration_and_vocabulary(tmp_path):
    model = make_model("mixed_bfloat16")
    folder = write_weights(model, TOKENIZER, tmp_path, "a: 1\n")
    assert sorted(path.name for path in folder.iterdir()) == [
        "experiment.yaml",
        "vocabulary.txt",
        WEIGHTS_FILE,
    ]
    values = safetensors.numpy.load_file(folder / WEIGHTS_FILE)
    assert values.keys() == {variable.path for variable in model.variables}
    for variable in model.variables:
        assert values[variable.path].dtype == np.float32
        np.testing.assert_array_equal(values[variable.path], variable.numpy())


def test_a_warm_start_leaves_out_what_no_release_has(wenlan, tmp_path):
    folder = write_weights(wenlan, None, tmp_path)
    fresh = build_model(model_config_from_dict(WENLAN))
    before = {variable.path: variable.numpy() for variable in fresh.variables}
    start = WarmStartConfig.model_validate({"from": str(folder / WEIGHTS_FILE)})
    loaded = warm_start(by_path(fresh.variables), start, released_variables(fresh))
    assert set(loaded) == released_variables(wenlan).keys()
    for variable, source in zip(fresh.variables, wenlan.variables, strict=True):
        expected = source.numpy() if variable.path in loaded else before[variable.path]
        np.testing.assert_array_equal(variable, expected, err_msg=variable.path)
