import pytest

from tfx_pipeline.data import cldr, glyphs

REASON = "needs the Debian packages fonts-noto-color-emoji and unicode-cldr-core"


@pytest.fixture(scope="session")
def emoji_packages():
    """Font and words of the demo."""
    if not (glyphs.FONT.is_file() and cldr.CLDR.is_dir()):
        pytest.skip(REASON)
