"""SGD for SOHO's convolutions and AdamW for the rest: each rate moves its own variables alone."""

import numpy as np
import pytest
import tiny
from tiny_systems import make_trainer

from vl_models.training.checkpoint import read_weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory, strategies):
    """(rate of the convolutions, rate of the rest) -> weights after one step."""
    folder = tmp_path_factory.mktemp("optimizers")
    pattern = tiny.write_records(folder / "records", shards=1, per_shard=6)

    def train(cnn, rest):
        optimizers = [
            {"name": "cnn", "kind": "sgd", "variables": ["image_encoder/*"], "learning_rate": cnn},
            {"name": "rest", "kind": "adamw", "learning_rate": rest},
        ]
        run = folder / f"{cnn}-{rest}"
        options = {"steps": 1, "warmup_steps": 0, "optimizers": optimizers}
        make_trainer("soho", run, pattern, strategies[1], **options).fit()
        return read_weights(run)

    return train


def test_a_rate_moves_its_own_variables_alone(trained):
    one = trained(0.1, 0.01)
    for other, moved in ((trained(0.2, 0.01), True), (trained(0.1, 0.02), False)):
        different = {path for path in one if not np.array_equal(one[path], other[path])}
        assert different
        assert {path.startswith("image_encoder/") for path in different} == {moved}
