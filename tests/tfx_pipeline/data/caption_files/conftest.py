"""Caption files of any form."""

import json

import pytest

from tfx_pipeline.data.caption_files.forms import read_captions


@pytest.fixture
def read(tmp_path):
    """read(content, **options) → form, captions, rejections, of text, bytes, rows or JSON."""

    def read_content(content, **options):
        path = tmp_path / "captions.txt"
        if isinstance(content, list):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        found = read_captions(path, **options)
        assert all(rejected.source == str(path) for rejected in found.rejected)
        captions = [(c.row, c.image, c.text, c.language, c.split) for c in found.captions]
        return found.form, captions, [(r.row, r.reason, r.message) for r in found.rejected]

    return read_content
