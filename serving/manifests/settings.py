"""What a person chooses about the manifests, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from serving.errors import ServingError
from serving.kubernetes_names import is_label, is_subdomain
from serving.manifests.storage import ObjectStore, Storage

# The version of tensorflow-serving-api in requirements.lock, whose requests we send.
IMAGE = "tensorflow/serving:2.19.1"
# Where the release is put that is copied from an object store.
MODELS = "/models"
# A Service's name is a DNS label that begins with a letter; suffixes are added to it.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
# As container runtimes read it: a registry, which may have capitals and a port, and small letters.
_PATH = r"[a-z0-9]+(?:(?:[.]|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<repository>(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?{_PATH}(?:/{_PATH})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_CPU = re.compile(r"(?P<cores>[0-9]+(\.[0-9]+)?)|(?P<milli>[0-9]+)m")
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)?([kMGT]|[KMGT]i)?")
# A volume in one of these would hide the container's own system; the others only as a whole.
_SYSTEM = {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "sbin", "sys", "usr"}
_SHALLOW = {"home", "media", "mnt", "opt", "root", "run", "srv", "tmp", "var"}


@dataclass(frozen=True)
class Settings:
    """Settings of the generated manifests.

    Attributes:
        storage: where pods get the release from.
        name: of the Deployment, the Service and all else; at most 40 characters.
        namespace: None leaves it to whoever applies the files.
        image: TensorFlow Serving; for GPUs `-gpu` is added to its tag, unless it has a digest.
        mount_path: folder of the release root in a pod; None is the one it was published under.
        replicas: least number of pods.
        max_replicas: greatest number of pods.
        cpu: cores of a pod, a Kubernetes quantity.
        memory: memory of a pod, a Kubernetes quantity.
        gpus: GPUs of a pod in the GPU overlay.
        service_account: name of one that exists; None makes one without rights.
        secret: name of a Secret whose keys are the object store's environment variables.
        canary: per cent of the traffic that KServe sends to this release; None sends all.

    Raises:
        ServingError: a value that Kubernetes would refuse.
    """

    storage: Storage
    name: str = "vlsearch-serving"
    namespace: str | None = None
    image: str = IMAGE
    mount_path: str | None = None
    replicas: int = 2
    max_replicas: int = 6
    cpu: str = "2"
    memory: str = "4Gi"
    gpus: int = 1
    service_account: str | None = None
    secret: str | None = None
    canary: int | None = None

    def __post_init__(self) -> None:
        _check(
            _NAME.fullmatch,
            "--name",
            self.name,
            "a DNS label of at most 40 lower-case letters, digits and hyphens that begins with a "
            "letter",
        )
        _check(is_label, "--namespace", self.namespace, "a DNS label, such as search-prod")
        _check(_IMAGE.fullmatch, "--image", self.image, "an image's name, such as " + IMAGE)
        _check(is_subdomain, "--service-account", self.service_account, "the name of one")
        if self.secret is not None and not is_subdomain(self.secret):
            raise ServingError(  # and does not repeat it
                "--secret must be the name of a Secret, not its content: small letters, digits, "
                "hyphens and dots."
            )
        _check(_CPU.fullmatch, "--cpu", self.cpu, "cores or thousandths of one, such as 2 or 1500m")
        _check(_MEMORY.fullmatch, "--memory", self.memory, "bytes with a suffix, such as 4Gi")
        if self.milli_cpu < 1 or not re.search("[1-9]", self.memory):
            raise ServingError(
                "--cpu and --memory must be more than nothing. "
                f"Received: --cpu {self.cpu} --memory {self.memory}."
            )
        if self.mount_path is not None:
            check_mount_path(self.mount_path, "Give --mount-path another folder, such as /models.")
        if not 1 <= self.replicas <= self.max_replicas:
            raise ServingError(
                "--replicas must be at least 1 and at most --max-replicas. "
                f"Received: --replicas {self.replicas} --max-replicas {self.max_replicas}."
            )
        if self.gpus < 1:
            raise ServingError(f"--gpu must be at least 1. Received: --gpu {self.gpus}.")
        if self.canary is not None and not 0 <= self.canary <= 100:
            raise ServingError(
                f"--canary is a percentage, from 0 to 100. Received: --canary {self.canary}."
            )
        if self.secret is not None and not isinstance(self.storage, ObjectStore):
            raise ServingError(
                "--secret is for an object store; a volume needs none. Leave it out, or give "
                "--storage s3://… or gs://…"
            )

    @property
    def milli_cpu(self) -> int:
        """Thousandths of a core."""
        match = _CPU.fullmatch(self.cpu)
        assert match is not None
        return int(match["milli"]) if match["milli"] else int(float(match["cores"]) * 1000)

    @property
    def cores(self) -> int:
        """Cores of a pod, rounded up: how many threads make sense."""
        return math.ceil(self.milli_cpu / 1000)

    @property
    def gpu_image(self) -> str:
        """The image with CUDA; one that is named by its digest is taken as it is."""
        match = _IMAGE.fullmatch(self.image)
        assert match is not None
        if match["digest"] or (match["tag"] or "").endswith("-gpu"):
            return self.image
        return f"{match['repository']}:{match['tag'] or 'latest'}-gpu"


def check_mount_path(path: str, remedy: str) -> None:
    """Raise ServingError if no volume can be mounted at `path` in a container."""
    parts = path.split("/")[1:]
    plain = re.fullmatch(r"(/[^/:\s]+)+", path) and not {".", ".."} & set(parts)
    if not plain or parts[0] in _SYSTEM or (len(parts) == 1 and parts[0] in _SHALLOW):
        raise ServingError(f"No volume can be mounted at {path!r} in a container. {remedy}")


def _check(fits: Callable[[str], object], option: str, value: str | None, wanted: str) -> None:
    if value is not None and not fits(value):
        raise ServingError(f"{option} must be {wanted}. Received: {value!r}.")
