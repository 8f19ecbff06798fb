"""`vlsearch kubeflow`: the pipeline on Kubeflow Pipelines v2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tfx_pipeline.cli.places import ConfigOption, override_option

app = typer.Typer(no_args_is_help=True, help="Run the pipeline on Kubeflow Pipelines v2.")

_NAME_LENGTH = 128  # of names that Kubeflow shows

Spec = Annotated[Path, typer.Argument(help="What `vlsearch kubeflow compile` wrote.")]
RunName = Annotated[str, typer.Option("--run-name", help="Goes into the release's lineage.")]
Data = Annotated[str | None, typer.Option(help="Data folder, as the steps see it, or a URI.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps.")]
Thresholds = Annotated[
    list[str] | None,
    typer.Option("--min", metavar="METRIC=VALUE", help="Release only if the metric reaches it."),
]


@app.command("compile")
def compile_(
    config: ConfigOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The spec.")] = Path(
        "pipeline.yaml"
    ),
    overrides: Annotated[list[str] | None, override_option("kubeflow.image=NAME")] = None,
    index_only: Annotated[
        bool,
        typer.Option(
            "--index-only",
            help="A pipeline that trains nothing: another index of the current release's towers.",
        ),
    ] = False,
) -> None:
    """Compile an experiment to a spec (YAML) for Kubeflow Pipelines.

    Images, resources, volume and retries are the experiment's section `kubeflow`.
    """

    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.runners.kubeflow import compile_pipeline
    from vl_models.terminal import echo

    experiment = ExperimentConfig.load(config, overrides or [])
    submission = compile_pipeline(experiment, output, index_only)
    folder = submission.config.data.folder
    echo(f"{output}: the pipeline of {submission.config.name}, data {folder}.")
    if submission.data is None:
        echo("The data cannot be seen from here: the first step will look at them.")


@app.command()
def submit(
    spec: Spec,
    host: Annotated[
        str | None,
        typer.Option(
            envvar="KF_PIPELINES_ENDPOINT", help="URL of Kubeflow Pipelines; in a pod, its own."
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="File with a bearer token; or VLSEARCH_KFP_TOKEN; or the pod's own.",
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Profile, where there are several users.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Certificates to trust (PEM).")
    ] = None,
    experiment: Annotated[str, typer.Option(help="Kubeflow's folder for runs.")] = "vlsearch",
    run_name: RunName = "",
    data: Data = None,
    steps: Steps = None,
    minima: Thresholds = None,
    pipeline_root: Annotated[
        str | None, typer.Option(help="Where artifacts go; the cluster's own by default.")
    ] = None,
    service_account: Annotated[str | None, typer.Option(help="The steps' identity.")] = None,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 10.0,
) -> None:
    """Start a run and follow it. Exits with code 1 if it fails."""
    from tfx_pipeline.runners.kubeflow_endpoint import Endpoint, default_host, given_token
    from tfx_pipeline.runners.kubeflow_submit import (
        RunFailed,
        follow_run,
        settle_parameters,
        start_run,
    )
    from vl_models.errors import Interrupted
    from vl_models.terminal import echo, styled

    parameters = settle_parameters(spec, _given(run_name, data, steps, minima))
    _check_names(run_name, experiment, namespace, service_account)
    endpoint = Endpoint(
        host=host or default_host(),
        token=given_token(token_file),
        namespace=namespace,
        ca_file=str(ca_file) if ca_file else None,
    )
    endpoint.check()
    run_id = start_run(
        endpoint,
        spec,
        parameters,
        run_name=run_name or spec.stem,
        experiment=experiment,
        pipeline_root=pipeline_root,
        service_account=service_account,
    )
    echo(f"Run {run_id}: {endpoint.host}/#/runs/details/{run_id}")
    if not wait:
        return
    try:
        follow_run(endpoint, run_id, lambda step, state: echo(f"{step:<20} {state}"), poll)
    except KeyboardInterrupt:
        raise Interrupted(f"the run goes on in the cluster: {run_id}") from None
    except RunFailed as error:
        echo(styled("Failed", "bold red", f": {error}"))
        raise typer.Exit(1) from None
    echo(styled("Finished", "bold green", f" {run_id}"))


@app.command()
def local(
    spec: Spec,
    root: Annotated[Path, typer.Option(help="Folder for artifacts and logs.")] = Path(
        "build/kubeflow"
    ),
    run_name: RunName = "",
    data: Data = None,
    steps: Steps = None,
    minima: Thresholds = None,
) -> None:
    """Execute a spec on this machine, without a cluster: does it run?

    Kubeflow's own local orchestrator runs every step with the entrypoint of the image. Finished
    steps are reused when it is run again. For a spec compiled with `--set kubeflow.volume=null`.
    """
    from tfx_pipeline.runners.kubeflow_local import StepFailed, run_spec
    from tfx_pipeline.runners.kubeflow_submit import PUSHERS, settle_parameters
    from tfx_pipeline.runners.progress import StepReport
    from vl_models.terminal import echo, styled

    def progress(step: StepReport) -> None:
        if step.seconds is not None:
            echo(f"{step.place} {step.outcome}")

    parameters = settle_parameters(spec, _given(run_name, data, steps, minima))
    try:
        outputs = run_spec(spec, root.resolve(), parameters, progress)
    except StepFailed as error:
        echo(styled("Failed:", "bold red", f" {error}"))
        raise typer.Exit(1) from None
    if evaluation := outputs.get("retrieval-evaluator/evaluation"):
        echo(f"Report: {Path(evaluation['uri'], 'report.html')}")
    release = next(outputs[f"{step}/release"] for step in PUSHERS if f"{step}/release" in outputs)
    release = release["metadata"]
    if not release["released"]:
        echo(styled("Not released:", "bold red", f" {release['reasons']}"))
        raise typer.Exit(1)
    echo(styled("Released", "bold green", f" version {release['version']:.0f}"))


@app.command()
def tfjob(
    config: Annotated[str, typer.Option("--config", "-c", help="Experiment, as the pods see it.")],
    data: Annotated[str, typer.Option(help="Data folder, as the pods see it.")],
    run: Annotated[str, typer.Option(help="Run folder on the claim, which all workers share.")],
    claim: Annotated[str, typer.Option(help="PersistentVolumeClaim (ReadWriteMany).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest.")] = Path(
        "tfjob.yaml"
    ),
    image: Annotated[
        str | None, typer.Option(help="Container image.", show_default="vlsearch:VERSION")
    ] = None,
    mount_path: Annotated[str, typer.Option(help="Where pods mount the claim.")] = "/shared",
    name: Annotated[str, typer.Option(help="Of the job.")] = "vlsearch-train",
    namespace: Annotated[str | None, typer.Option(help="Of the job.")] = None,
    workers: Annotated[int, typer.Option(help="Beside the chief.")] = 1,
    cpu: Annotated[str, typer.Option(help="Cores of each.")] = "4",
    memory: Annotated[str, typer.Option(help="Memory of each.")] = "16Gi",
    gpus: Annotated[int, typer.Option(help="GPUs of each.")] = 0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="For all workers.")
    ] = None,
) -> None:
    """Write the TFJob of a training on several workers (Kubeflow's training operator)."""
    import yaml

    from serving.commands import command
    from serving.files import write_atomically
    from tfx_pipeline.runners import tfjob as jobs
    from tfx_pipeline.runners.kubeflow_spec import own_version
    from vl_models.terminal import echo

    manifest = jobs.tfjob(
        image or f"vlsearch:{own_version()}",
        config,
        data,
        run,
        claim=claim,
        mount_path=mount_path,
        name=name,
        namespace=namespace,
        workers=workers,
        overrides=overrides or (),
        cpu=cpu,
        memory=memory,
        gpus=gpus,
    )
    write_atomically(output, yaml.safe_dump(manifest, sort_keys=False))
    echo(f"{output}: {command('kubectl', 'apply', '-f', output)}")


def _check_names(run: str, experiment: str, namespace: str | None, account: str | None) -> None:
    """Refuse what the cluster would refuse, or cut off.

    Raises:
        UserError: names the option.
    """
    from serving.kubernetes_names import is_label, is_subdomain
    from vl_models.errors import UserError

    for option, name in (("--run-name", run), ("--experiment", experiment)):
        if len(name) > _NAME_LENGTH or not name.isprintable() or name != name.strip():
            raise UserError(
                f"{option} is one line of at most {_NAME_LENGTH} characters, without blanks around "
                f"it. Received: {name!r}."
            )
    if namespace is not None and not is_label(namespace):
        raise UserError(
            f"--namespace must be a DNS label, such as team-search. Received: {namespace!r}."
        )
    if account is not None and not is_subdomain(account):
        raise UserError(f"--service-account must be the name of one. Received: {account!r}.")


def _given(
    run_name: str, data: str | None, steps: int | None, minima: list[str] | None
) -> dict[str, str | int]:
    """Return the parameters that options set."""
    from vl_models.errors import UserError

    given: dict[str, str | int] = {}
    if run_name:
        given["run_name"] = run_name
    if data is not None:
        given["data"] = data
    if steps is not None:
        given["steps"] = steps
    rules = {}
    for text in minima or []:
        metric, _, value = text.rpartition("=")
        try:
            rules[metric] = {"min": float(value)}
        except ValueError:
            metric = ""
        if not metric:
            raise UserError(f"--min takes METRIC=VALUE, e.g. recall@10=0.4. Received: {text!r}.")
    if rules:
        given["thresholds"] = json.dumps(rules)
    return given
