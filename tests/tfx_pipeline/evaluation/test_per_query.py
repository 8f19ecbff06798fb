import pyarrow as pa
import pytest

from tfx_pipeline.evaluation.config import BootstrapConfig
from tfx_pipeline.evaluation.per_query import compare_tables
from vl_models.errors import UserError


def table(keys, values, counts, direction="text_to_image"):
    return pa.table(
        {
            "direction": [direction] * len(keys),
            "key": keys,
            "mrr": pa.array(values, pa.float64()),
            "mrr/count": pa.array(counts, pa.float64()),
        }
    )


OPTIONS = BootstrapConfig(samples=200)


def test_only_common_queries_are_compared_whatever_their_order():
    before = table(["a", "b", "old"], [0.5, 0.2, 0.0], [1, 3, 1])
    after = table(["new", "b", "a"], [1.0, 0.4, 0.5], [1, 3, 1])
    differences = compare_tables(after, before, ["mrr", "auc"], OPTIONS)
    assert set(differences) == {"mrr"}
    assert differences["mrr"].value == pytest.approx(3 * 0.2 / 4)
    assert differences["mrr"].low >= 0.0


def test_undefined_values_do_not_count():
    before = table(["a", "b"], [0.5, None], [1, 0])
    after = table(["a", "b"], [0.75, None], [1, 0])
    assert compare_tables(after, before, ["mrr"], OPTIONS)["mrr"].value == pytest.approx(0.25)


def test_directions_do_not_mix():
    before = table(["a"], [0.5], [1])
    with pytest.raises(UserError, match="no query in common"):
        compare_tables(table(["a"], [0.5], [1], "image_to_text"), before, ["mrr"], OPTIONS)
