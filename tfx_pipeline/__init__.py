"""The TFX pipeline of vlsearch: data, components, runners, report, command line."""

from tfx_pipeline import compat

compat.install()
