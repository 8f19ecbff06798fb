"""Loads all pickled code of serialised Beam graphs, as a worker would: in a process of its own.

python -P load_beam_graph.py GRAPH... prints as JSON, by graph, what was loaded by transform, and
by graph, why the code of one could not be loaded.
"""

import json
import sys
from pathlib import Path

from apache_beam.coders.coders import deserialize_coder
from apache_beam.internal import pickler
from apache_beam.portability.api import beam_runner_api_pb2 as api


def functions(spec):
    """The FunctionSpecs inside a transform's own."""
    if spec.urn == "beam:transform:pardo:v1":
        payload = api.ParDoPayload.FromString(spec.payload)
        yield payload.do_fn
        for side_input in payload.side_inputs.values():
            yield from (side_input.view_fn, side_input.window_mapping_fn)
    elif spec.urn == "beam:transform:read:v1":
        yield api.ReadPayload.FromString(spec.payload).source
    elif spec.urn.startswith("beam:transform:combine"):
        yield api.CombinePayload.FromString(spec.payload).combine_fn
    else:
        yield spec


def loaded(components):
    for transform in components.transforms.values():
        for spec in functions(transform.spec):
            if "pickled" in spec.urn:
                yield transform.unique_name, describe(pickler.loads(spec.payload))
    for name, coder in components.coders.items():
        if "pickled" in coder.spec.urn:
            yield f"coder {name}", describe(deserialize_coder(coder.spec.payload))


def describe(value):
    # A DoFn comes with its arguments, a function wrapped by Beam.
    part = value[0] if isinstance(value, tuple) else value
    part = getattr(part, "_fn", part)
    kind = part if hasattr(part, "__qualname__") else type(part)
    return f"{kind.__module__}.{kind.__qualname__}"


def main(paths):
    found, errors = {}, {}
    for path in map(Path, paths):
        by_transform = found.setdefault(path.name, {})
        try:
            for name, what in loaded(api.Pipeline.FromString(path.read_bytes()).components):
                by_transform.setdefault(name, []).append(what)
        except Exception as error:
            errors[path.name] = f"{type(error).__name__}: {error}"
    print(json.dumps({"loaded": found, "errors": errors, "imported": sorted(sys.modules)}))


main(sys.argv[1:])
