"""Systems by name: a new one is its files in this folder and one line here.

Reading a configuration imports no Keras; making a model imports that of its system alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pydantic

from vl_models.errors import UserError
from vl_models.models.base_config import ModelConfig
from vl_models.precision import resolve_precision
from vl_models.strict_config import explain_validation_error

if TYPE_CHECKING:
    from vl_models.models.base import VisionLanguageModel

# Name → class. Its module has the system's name, that of its configuration ends in _config.
SYSTEMS = {
    "acmr": "ACMR",
    "align": "ALIGN",
    "clip": "CLIP",
    "coca": "CoCa",
    "dscmr": "DSCMR",
    "flava": "FLAVA",
    "image_tokenizer": "ImageTokenizer",
    "moco": "MoCo",
    "prefix_conditioning": "PrefixConditioning",
    "siglip": "SigLIP",
    "soho": "SOHO",
    "ssah": "SSAH",
    "tfnh": "TFNH",
    "ucal": "UCAL",
    "unicl": "UniCL",
    "vilt": "ViLT",
    "vlmo": "VLMo",
    "wenlan": "WenLan",
}


def config_class(system: str) -> type[ModelConfig]:
    """Return the class of a system's configuration."""
    return getattr(import_module(f"{__package__}.{system}_config"), f"{SYSTEMS[system]}Config")


def model_class(system: str) -> type[VisionLanguageModel]:
    """Return the class of a system."""
    return getattr(import_module(f"{__package__}.{system}"), SYSTEMS[system])


def model_config_from_dict(values: Mapping[str, Any], where: str = "model") -> ModelConfig:
    """Validate the configuration of a model; its key ``system`` says of which.

    Args:
        values: plain values, as YAML gives them.
        where: what is read, for error messages.

    Raises:
        UserError: for an unknown system, an unknown key or a wrong value.
    """
    system = values.get("system")
    if not isinstance(system, str) or system not in SYSTEMS:
        nearest = difflib.get_close_matches(str(system), SYSTEMS, n=1, cutoff=0.0)[0]
        raise UserError(
            f"{where}: Key 'system' must be one of {', '.join(sorted(SYSTEMS))}; did you mean "
            f"'{nearest}'? Received: system={system!r}."
        )
    kind = config_class(system)
    try:
        return kind.model_validate(dict(values))
    except pydantic.ValidationError as error:
        raise UserError(explain_validation_error(error, where, kind)) from error


def create_model(config: ModelConfig) -> VisionLanguageModel:
    """Create a model without variables; `build` makes them.

    Args:
        config: of one of the registered systems.

    Raises:
        ValueError: if the configuration belongs to no system.
    """
    system = getattr(config, "system", None)
    if system not in SYSTEMS or type(config) is not config_class(system):
        raise ValueError(
            f"`config` must be the configuration of a system. Received: {type(config).__name__}"
        )
    precision = resolve_precision(config.precision)
    return model_class(system)(config.model_copy(update={"precision": precision}))


def build_model(config: ModelConfig) -> VisionLanguageModel:
    """Create a model with all its variables, under the caller's strategy scope.

    Args:
        config: of one of the registered systems.

    Raises:
        ValueError: if the configuration belongs to no system.
    """
    model = create_model(config)
    model.build()
    return model
