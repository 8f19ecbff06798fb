"""The experiment's section `kubeflow`: where and with what its steps run on a cluster."""

from __future__ import annotations

import pydantic

from serving.kubernetes_names import SUBDOMAIN, SUBDOMAIN_LENGTH
from vl_models.strict_config import StrictConfig

DEFAULT = "default"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|[KMGTP]i?)?$"


class StepResources(StrictConfig):
    """What one step asks for, in Kubernetes' quantities; request and limit are the same."""

    cpu: str = pydantic.Field(default="2", pattern=_QUANTITY, coerce_numbers_to_str=True)
    memory: str = pydantic.Field(default="8Gi", pattern=_QUANTITY, coerce_numbers_to_str=True)
    gpu: pydantic.NonNegativeInt = 0
    gpu_type: str = "nvidia.com/gpu"  # the resource's name
    node_selector: dict[str, str] = pydantic.Field(
        default={}, description="labels of the nodes that may run it"
    )


class VolumeConfig(StrictConfig):
    """A persistent volume that every step sees: data, checkpoints, releases."""

    claim: str = pydantic.Field(pattern=f"^{SUBDOMAIN}$", max_length=SUBDOMAIN_LENGTH)
    mount: str = pydantic.Field(default="/vlsearch", pattern=r"^/")


class RetryConfig(StrictConfig):
    """How often a failed step is tried again, and after which wait."""

    count: pydantic.NonNegativeInt = 1
    wait_s: pydantic.NonNegativeInt = 30  # doubles with every try


class KubeflowConfig(StrictConfig):
    """A run on Kubeflow Pipelines; none of it changes what the run computes.

    With a volume, relative paths of the experiment (`data.folder`, `output`) lie on it.
    """

    image: str | None = None  # of the steps; by default vlsearch:VERSION
    gpu_image: str | None = None  # of steps with a GPU; by default vlsearch:VERSION-gpu
    volume: VolumeConfig | None = VolumeConfig(claim="vlsearch")
    resources: dict[str, StepResources] = pydantic.Field(
        default={
            DEFAULT: StepResources(),
            "Trainer": StepResources(cpu="4", memory="16Gi"),
            "IndexBuilder": StepResources(cpu="4"),
        },
        description="by step; `default` for those that are not named",
    )
    retries: RetryConfig = RetryConfig()
    cache: bool = True  # steps whose inputs are the same are not run again
