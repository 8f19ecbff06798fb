"""Starts a run of a compiled spec on a Kubeflow Pipelines endpoint, and follows it."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serving.errors import ServingError
from tfx_pipeline import fingerprint
from tfx_pipeline.data.options import DataConfig
from tfx_pipeline.data.resolved import ResolvedData, unseen
from tfx_pipeline.release.place import CURRENT, NEXT_VERSION, follow_bucket, place_release
from tfx_pipeline.runners.kubeflow_endpoint import Endpoint, message
from tfx_pipeline.runners.kubeflow_spec import parameters, read_spec
from vl_models.errors import Unavailable, UserError

PUSHERS = ("release-pusher", "index-pusher")  # of a run that trains, of one that does not
_LOOKS = 10  # in a row that may fail
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


class RunFailed(ServingError):
    """A run ended otherwise than well."""


def settle_parameters(spec_file: Path, given: Mapping[str, str | int]) -> dict[str, str | int]:
    """All parameters of a run: those given, those that depend on them, and the spec's defaults.

    What can be seen from here is looked at now: files and fingerprint of the data, the releases
    that there are. What cannot, the steps look at themselves.

    Args:
        spec_file: the compiled spec.
        given: values by parameter.

    Returns:
        A value for every parameter.

    Raises:
        UserError: a spec of something else, an unknown parameter, data that cannot be used.
    """
    spec = read_spec(spec_file)
    values = parameters(spec, spec_file, given)
    submitted = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    data = str(values["data"])
    resolved = None
    if "://" in data or Path(data).is_dir():
        options = _constant(spec, "click-example-gen", "options")
        resolved = ResolvedData.of(data, DataConfig.model_validate_json(options))
    values["resolved"] = resolved.model_dump_json() if resolved else unseen(submitted)
    # A spec that builds an index alone trains and evaluates nothing.
    deciding = ("resolved", "steps", "thresholds")
    content = {name: values[name] for name in deciding if name in values}
    key = fingerprint.fingerprint_text(
        json.dumps(spec["deploymentSpec"], sort_keys=True),
        json.dumps(spec["root"]["dag"], sort_keys=True),
        json.dumps(content, sort_keys=True),
    )
    pusher = next(step for step in PUSHERS if step in spec["root"]["dag"]["tasks"])
    root = Path(_constant(spec, pusher, "serving_root"))
    version, baseline = NEXT_VERSION, CURRENT
    if root.parent.is_dir():
        bucket = _constant(spec, pusher, "publish_to") or None
        place = place_release(root, key, submitted, follow_bucket(root, bucket))
        submitted, version, baseline = place.submitted, place.version, place.baseline
    lineage = {
        **json.loads(str(values["lineage"])),
        "submission": key,
        "submitted": submitted,
        "input": resolved.fingerprint if resolved else None,
        "baseline": json.loads(baseline) if baseline not in ("", CURRENT) else None,
    }
    settled = {"version": version, "baseline": baseline, "lineage": json.dumps(lineage)}
    return values | {n: v for n, v in settled.items() if n in values} | dict(given)


def start_run(
    endpoint: Endpoint,
    spec_file: Path,
    values: Mapping[str, str | int],
    *,
    run_name: str,
    experiment: str,
    pipeline_root: str | None = None,
    service_account: str | None = None,
) -> str:
    """Create a run.

    Args:
        endpoint: where to.
        spec_file: the compiled spec.
        values: of its parameters.
        run_name: as Kubeflow shows it.
        experiment: Kubeflow's folder for runs; made if it is not there.
        pipeline_root: where artifacts go; the cluster's own place by default.
        service_account: the steps' identity.

    Returns:
        Its id.

    Raises:
        UserError: the endpoint refuses it.
    """
    from kfp_server_api.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # links, which we print ourselves
            created = endpoint.client().create_run_from_pipeline_package(
                str(spec_file),
                arguments=dict(values),
                run_name=run_name,
                experiment_name=experiment,
                namespace=endpoint.namespace,
                pipeline_root=pipeline_root,
                service_account=service_account,
            )
    except ApiException as error:
        raise endpoint.refusal(error.status, error.body) or UserError(
            f"{endpoint.host} refuses the run (HTTP {error.status}): {message(error.body)}"
        ) from None
    except HTTPError as error:
        raise Unavailable(
            f"{endpoint.host} did not answer to the end ({error}). Whether there is a run, its "
            "list of runs says."
        ) from None
    return created.run_id


def follow_run(
    endpoint: Endpoint,
    run_id: str,
    progress: Callable[[str, str], None],
    poll_s: float = 10.0,
) -> None:
    """Wait for the end of a run.

    Args:
        endpoint: where it runs.
        run_id: its id.
        progress: called with a step's name and its state whenever one changes.
        poll_s: seconds between looks.

    Raises:
        RunFailed: the run ended otherwise than well; the message has the failed steps' own.
        UserError: the token is no longer accepted; the run goes on.
        Unavailable: the endpoint has not answered for a while; the run goes on.
    """
    client = endpoint.client()
    states: dict[str, str] = {}
    while True:
        run = _look(endpoint, client, run_id, poll_s)
        tasks = (run.run_details and run.run_details.task_details) or []
        for task in tasks:
            if states.get(task.display_name) != task.state:
                states[task.display_name] = task.state
                progress(task.display_name, task.state)
        if run.state in _ENDED:
            break
        time.sleep(poll_s)
    if run.state != "SUCCEEDED":
        errors = [
            f"{task.display_name}: {task.error.message}" for task in tasks if task.error is not None
        ]
        said = "; ".join(errors) or (run.error.message if run.error else "no message")
        raise RunFailed(f"Run {run_id} ended as {run.state}. {said}")


def _look(endpoint: Endpoint, client: Any, run_id: str, poll_s: float) -> Any:
    """Return a run as it is; an endpoint that is away for a while is asked again."""
    from kfp_server_api.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    failures = 0
    while True:
        try:
            return client.get_run(run_id)
        except ApiException as error:
            refusal = endpoint.refusal(error.status, error.body) or UserError(
                f"{endpoint.host} does not show the run (HTTP {error.status}): "
                f"{message(error.body)}"
            )
        except HTTPError as error:
            refusal = Unavailable(f"{endpoint.host} does not answer ({error}).")
        failures += 1
        if failures == _LOOKS or isinstance(refusal, UserError):
            raise type(refusal)(f"{refusal} Run {run_id} goes on in the cluster.")
        time.sleep(poll_s)


def _constant(spec: dict[str, Any], step: str, name: str) -> str:
    """Return a parameter's value that is fixed in the spec."""
    inputs = spec["root"]["dag"]["tasks"][step]["inputs"]["parameters"]
    return inputs[name]["runtimeValue"]["constant"]
