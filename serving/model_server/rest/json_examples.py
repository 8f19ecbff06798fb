"""REST bodies of classify and regress, by the rules and texts of json_tensor.cc."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.errors import invalid
from serving.model_server.rest.json_parser import format_error
from serving.model_server.rest.json_values import (
    DT_FLOAT,
    decode_base64,
    is_base64,
    kind,
    lossless,
    to_bytes,
)
from serving.model_server.rest.json_writer import dump

_RESULTS = "results"
_INT64_MAX = 2**63 - 1


def fill_examples(document: dict[str, Any], target: Any) -> None:
    """Write the examples of a parsed body, and their context if there is one, into an Input.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    examples = target.example_list.examples
    if "context" in document:
        target.example_list_with_context.SetInParent()
        _fill_example(document["context"], target.example_list_with_context.context)
        examples = target.example_list_with_context.examples
    if "examples" not in document:
        # Regress says so, too.
        raise format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(document["examples"], list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise format_error(document, "'examples' value is an empty array")
    for value in document["examples"]:
        _fill_example(value, examples.add())


def classification_text(result: Any) -> str:
    """JSON of a ClassificationResult: for each example a list of pairs of label and score."""
    return dump(
        {
            _RESULTS: [
                [(item.label, np.float32(item.score)) for item in row.classes]
                for row in result.classifications
            ]
        }
    )


def regression_text(result: Any) -> str:
    """JSON of a RegressionResult: a value for each example."""
    return dump({_RESULTS: [np.float32(item.value) for item in result.regressions]})


def _fill_example(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind(value)}")
    example.features.SetInParent()
    for name, content in value.items():
        # Protobuf takes no surrogates in a name.
        feature = example.features.feature[name.encode("utf-8", "replace").decode("utf-8")]
        # Of a name that is repeated the last one counts.
        feature.Clear()
        for element in content if isinstance(content, list) else [content]:
            _add_element(element, name, feature)


def _add_element(value: Any, name: str, feature: Any) -> None:
    if (
        value is None
        or isinstance(value, list)
        or (isinstance(value, dict) and not is_base64(value))
    ):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind(value)}")
    if isinstance(value, int):
        values = _values(feature, "int64", name)
        if value > _INT64_MAX:
            raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        values.append(int(value))
    elif isinstance(value, float):
        _values(feature, "float", name).append(lossless(value, DT_FLOAT))
    elif isinstance(value, str):
        _values(feature, "bytes", name).append(to_bytes(value))
    else:
        _values(feature, "bytes", name).append(decode_base64(value))


def _values(feature: Any, wanted: str, name: str) -> Any:
    """Return the list of a feature for elements of the wanted kind."""
    field = feature.WhichOneof("kind")
    if field not in (None, f"{wanted}_list"):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{field.removesuffix('_list')}"
        )
    return getattr(feature, f"{wanted}_list").value
