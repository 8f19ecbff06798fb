"""Starts a run of a compiled spec on a Kubeflow Pipelines endpoint, and follows it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import io
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from serving.errors import ServingError
from tfx_pipeline import fingerprint
from tfx_pipeline.data.options import DataConfig
from tfx_pipeline.data.resolved import ResolvedData, unseen
from tfx_pipeline.release.place import CURRENT, NEXT_VERSION, place_release
from tfx_pipeline.runners.kubeflow_spec import parameters, read_spec
from vl_models.errors import UserError

_TOKEN_FILE = Path("/var/run/secrets/kubeflow/pipelines/token")  # projected into pods
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_CONNECT_S = 10


class RunFailed(ServingError):
    """A run ended otherwise than well."""


def default_host() -> str:
    """Return the API of the cluster that this process is a pod of.

    Raises:
        UserError: it is none.
    """
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        raise UserError(
            "Where is Kubeflow Pipelines? This is no pod of a cluster: give --host URL, or set "
            "KF_PIPELINES_ENDPOINT."
        )
    return "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where Kubeflow Pipelines answers, and as whom to ask.

    Attributes:
        host: URL of the API.
        token: bearer token; None: the pod's own identity if there is one, else none at all.
        namespace: of the profile; None on installations for one user.
        ca_file: certificates to trust beside the system's.
    """

    host: str
    token: str | None = None
    namespace: str | None = None
    ca_file: str | None = None

    def check(self) -> None:
        """Ask whether anybody is there who takes the token.

        Raises:
            UserError: nobody answers, the login is refused, or it is something else that answers.
        """
        url = f"{self.host.rstrip('/')}/apis/v2beta1/healthz"
        token = self.token or _own_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = requests.get(
                url,
                headers=headers,
                timeout=_CONNECT_S,
                allow_redirects=False,
                verify=self.ca_file or True,
            )
        except requests.RequestException as error:
            raise UserError(
                f"{self.host}: Kubeflow Pipelines does not answer ({_reason(error)}). Is the "
                "address right, and reachable from here? From outside the cluster: kubectl "
                "port-forward -n kubeflow svc/ml-pipeline-ui 8080:80, and --host "
                "http://localhost:8080."
            ) from None
        if answer.is_redirect or answer.status_code in (401, 403):
            had = "does not accept the token" if token else "wants a token, and none was given"
            raise UserError(
                f"{self.host} {had} (HTTP {answer.status_code}). Give one with --token-file FILE "
                "or in VLSEARCH_KFP_TOKEN; in a pod, project a service account token for the "
                f"audience pipelines.kubeflow.org to {_TOKEN_FILE}."
            )
        try:
            answer.raise_for_status()
            answer.json()
        except requests.RequestException:
            raise UserError(
                f"{self.host}: what answers is not the API of Kubeflow Pipelines v2 (HTTP "
                f"{answer.status_code} from /apis/v2beta1/healthz). Check the address."
            ) from None

    def client(self) -> Any:
        """Kubeflow's own client."""
        from kfp import client

        credentials = None
        if self.token is None and _own_token() is not None:
            credentials = client.ServiceAccountTokenVolumeCredentials()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return client.Client(
                host=self.host,
                existing_token=self.token,
                credentials=credentials,
                ssl_ca_cert=self.ca_file,
            )


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
    content = {name: values[name] for name in ("resolved", "steps", "thresholds")}
    key = fingerprint.fingerprint_text(
        json.dumps(spec["deploymentSpec"], sort_keys=True),
        json.dumps(spec["root"]["dag"], sort_keys=True),
        json.dumps(content, sort_keys=True),
    )
    root = Path(_constant(spec, "release-pusher", "serving_root"))
    version, baseline = NEXT_VERSION, CURRENT
    if root.parent.is_dir():
        bucket = _constant(spec, "release-pusher", "publish_to") or None
        place = place_release(root, key, submitted, bucket)
        submitted, version, baseline = place.submitted, place.version, place.baseline
    lineage = {
        **json.loads(str(values["lineage"])),
        "submission": key,
        "submitted": submitted,
        "input": resolved.fingerprint if resolved else None,
        "baseline": json.loads(baseline) if baseline not in ("", CURRENT) else None,
    }
    settled = {"version": version, "baseline": baseline, "lineage": json.dumps(lineage)}
    return values | settled | dict(given)


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

    client = endpoint.client()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # links, which we print ourselves
            created = client.create_run_from_pipeline_package(
                str(spec_file),
                arguments=dict(values),
                run_name=run_name,
                experiment_name=experiment,
                namespace=endpoint.namespace,
                pipeline_root=pipeline_root,
                service_account=service_account,
            )
    except ApiException as error:
        raise UserError(
            f"{endpoint.host} refuses the run (HTTP {error.status}): {_message(error.body)}"
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
    """
    client = endpoint.client()
    states: dict[str, str] = {}
    while True:
        run = client.get_run(run_id)
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


def _constant(spec: dict[str, Any], step: str, name: str) -> str:
    """Return a parameter's value that is fixed in the spec."""
    inputs = spec["root"]["dag"]["tasks"][step]["inputs"]["parameters"]
    return inputs[name]["runtimeValue"]["constant"]


def _own_token() -> str | None:
    """Return the token of the pod that this runs in."""
    path = Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", _TOKEN_FILE))
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _reason(error: requests.RequestException) -> str:
    """Return the innermost reason, which is the one that tells."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {_CONNECT_S} s"
    reason: BaseException = error
    while isinstance(cause := reason.__cause__ or reason.__context__, BaseException):
        reason = cause
    return str(reason).removeprefix("[Errno 111] ")


def _message(body: Any) -> str:
    """Return the message in an error's JSON, or the text itself."""
    try:
        return json.loads(body)["message"]
    except (TypeError, ValueError, KeyError):
        return str(body)[:500]
