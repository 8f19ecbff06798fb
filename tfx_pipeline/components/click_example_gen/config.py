"""The configuration that ClickExampleGen carries as one JSON string."""

from tfx_pipeline.data.config import (
    ExampleGenConfig,
    ImageConfig,
    PropensityConfig,
    SplitConfig,
)

__all__ = ["ExampleGenConfig", "ImageConfig", "PropensityConfig", "SplitConfig"]
