"""`vlsearch serving`: what serves a release elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Serve a release with TensorFlow Serving.")


@app.callback()
def serving() -> None:
    """Serve a release with TensorFlow Serving."""


@app.command()
def repair(
    root: Annotated[Path, typer.Argument(help="Release root on this disk, with release.json.")],
) -> None:
    """Write models.config anew for the folder where a release root is.

    TensorFlow Serving reads absolute paths there; a root that was copied or moved has those of the
    old place. Models, labels and comments that people added stay.
    """
    from serving.model_config import CONFIG_FILE
    from serving.publish import repair_config
    from tfx_pipeline.storage.uris import check_local
    from vl_models.terminal import echo

    check_local(root, "Its servers read it from a folder on the disk.")
    release = repair_config(root)
    echo(f"{root}: {CONFIG_FILE} names release {release.version} here.")


@app.command()
def manifests(
    release_root: Annotated[Path, typer.Argument(help="Release root, with release.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Kustomize folder to write.")],
    storage: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="Where pods find the root: pvc:CLAIM[/subpath], s3://bucket[/path] or gs://…",
        ),
    ] = "pvc:vlsearch-releases",
    name: Annotated[str, typer.Option(help="Name of all objects.")] = "vlsearch-serving",
    namespace: Annotated[str | None, typer.Option(help="Namespace of all objects.")] = None,
    image: Annotated[
        str | None,
        typer.Option(help="TensorFlow Serving.", show_default="tensorflow/serving:2.19.1"),
    ] = None,
    mount_path: Annotated[
        str | None,
        typer.Option(
            help="Folder of the root in a pod.", show_default="where it was published; /models"
        ),
    ] = None,
    replicas: Annotated[int, typer.Option(help="Least number of pods.")] = 2,
    max_replicas: Annotated[int, typer.Option(help="Greatest number of pods.")] = 6,
    cpu: Annotated[str, typer.Option(help="Cores of a pod: 2, 1500m.")] = "2",
    memory: Annotated[str, typer.Option(help="Memory of a pod: 4Gi.")] = "4Gi",
    gpu: Annotated[int, typer.Option(help="GPUs of a pod in overlays/gpu.")] = 1,
    service_account: Annotated[
        str | None, typer.Option(help="ServiceAccount that exists.", show_default="a new one")
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(help="Name of the Secret with the object store's environment variables."),
    ] = None,
    canary: Annotated[
        int | None, typer.Option(help="Per cent of KServe's traffic for this release.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace any folder.")] = False,
) -> None:
    """Write Kubernetes manifests that serve a release with TensorFlow Serving.

    Apply one of the overlays: kubectl apply -k OUTPUT/overlays/cpu (or gpu, or kserve).
    """
    from serving.commands import command
    from serving.manifests import Settings, generate, write_folder
    from serving.manifests.settings import IMAGE
    from serving.manifests.storage import parse_storage
    from vl_models.terminal import echo

    settings = Settings(
        storage=parse_storage(storage),
        name=name,
        namespace=namespace,
        image=image or IMAGE,
        mount_path=mount_path,
        replicas=replicas,
        max_replicas=max_replicas,
        cpu=cpu,
        memory=memory,
        gpus=gpu,
        service_account=service_account,
        secret=secret,
        canary=canary,
    )
    write_folder(
        output, generate(release_root, settings), {"release_root": str(release_root)}, force
    )
    apply = command("kubectl", "apply", "-k", output / "overlays" / "cpu")
    echo(f"{output}: apply it with `{apply}` (gpu, kserve).")
