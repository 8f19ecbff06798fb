"""Templates of HTML pages."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2


@functools.cache
def load_template(path: Path) -> jinja2.Template:
    """Return a page's template: values are escaped, and one that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(path.name)
