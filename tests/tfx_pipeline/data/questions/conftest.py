import json

import pytest

from tfx_pipeline.data.caption_files.caption import Content


@pytest.fixture
def lines():
    """lines(name, records) → a file of JSON lines; texts are lines as they are."""

    def make(name, records):
        texts = (r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records)
        return Content(name, "\n".join(texts) + "\n")

    return make


@pytest.fixture
def whole():
    """whole(name, **keys) → a file of one JSON object."""
    return lambda name, **keys: Content(name, json.dumps(keys, ensure_ascii=False))
