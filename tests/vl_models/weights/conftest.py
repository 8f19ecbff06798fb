import pytest

from tests.vl_models.fusion_systems import untrained_tokenizer


@pytest.fixture(scope="module")
def flava_tokenizer(tmp_path_factory):
    """An untrained tokeniser with the published FLAVA's number of codes."""
    return untrained_tokenizer(tmp_path_factory.mktemp("tokenizer"), codes=24)
