"""Kubernetes manifests that serve a release with TensorFlow Serving, or on KServe.

`generate` makes the files of a Kustomize folder, `write_folder` puts them in place. Pure text and
data: neither TensorFlow nor a cluster is needed.
"""

from serving.manifests.folder import write_folder
from serving.manifests.generate import generate
from serving.manifests.settings import Settings

__all__ = ["Settings", "generate", "write_folder"]
