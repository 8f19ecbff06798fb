"""Systems by name: a new one is its file in this folder and one line here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import pydantic

from vl_models.errors import UserError
from vl_models.models.acmr import ACMR, ACMRConfig
from vl_models.models.align import ALIGN, ALIGNConfig
from vl_models.models.base import ModelConfig, VisionLanguageModel
from vl_models.models.clip import CLIP, CLIPConfig
from vl_models.models.dscmr import DSCMR, DSCMRConfig
from vl_models.models.moco import MoCo, MoCoConfig
from vl_models.models.prefix_conditioning import PrefixConditioning, PrefixConditioningConfig
from vl_models.models.siglip import SigLIP, SigLIPConfig
from vl_models.models.ssah import SSAH, SSAHConfig
from vl_models.models.tfnh import TFNH, TFNHConfig
from vl_models.models.ucal import UCAL, UCALConfig
from vl_models.models.unicl import UniCL, UniCLConfig
from vl_models.models.wenlan import WenLan, WenLanConfig
from vl_models.precision import resolve_precision
from vl_models.strict_config import explain_validation_error

SYSTEMS: dict[str, tuple[type[ModelConfig], Callable[[Any], VisionLanguageModel]]] = {
    "acmr": (ACMRConfig, ACMR),
    "align": (ALIGNConfig, ALIGN),
    "clip": (CLIPConfig, CLIP),
    "dscmr": (DSCMRConfig, DSCMR),
    "moco": (MoCoConfig, MoCo),
    "prefix_conditioning": (PrefixConditioningConfig, PrefixConditioning),
    "siglip": (SigLIPConfig, SigLIP),
    "ssah": (SSAHConfig, SSAH),
    "tfnh": (TFNHConfig, TFNH),
    "ucal": (UCALConfig, UCAL),
    "unicl": (UniCLConfig, UniCL),
    "wenlan": (WenLanConfig, WenLan),
}


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
    config_class = SYSTEMS[system][0]
    try:
        return config_class.model_validate(dict(values))
    except pydantic.ValidationError as error:
        raise UserError(explain_validation_error(error, where, config_class)) from error


def create_model(config: ModelConfig) -> VisionLanguageModel:
    """Create a model without variables; `build` makes them.

    Args:
      config: of one of the registered systems.

    Raises:
      ValueError: if the configuration belongs to no system.
    """
    for config_class, model_class in SYSTEMS.values():
        if type(config) is config_class:
            precision = resolve_precision(config.precision)
            return model_class(config.model_copy(update={"precision": precision}))
    raise ValueError(
        f"`config` must be the configuration of a system. Received: {type(config).__name__}"
    )


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
