"""`vlsearch kubeflow submit` against an endpoint on loopback."""

import json

import pytest

from tests.tfx_pipeline.conftest import vlsearch
from tests.tfx_pipeline.runners.pipelines_api import RUN, PipelinesApi
from vl_models.errors import UserError

TASKS = [
    {"display_name": "click-example-gen", "state": "SUCCEEDED"},
    {"display_name": "trainer", "state": "FAILED", "error": {"message": "loss is not finite"}},
]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A compiled spec of data that cannot be seen from here."""
    path = tmp_path_factory.mktemp("spec") / "pipeline.yaml"
    vlsearch("kubeflow", "compile", "--config", "configs/emoji.yaml", "--output", str(path))
    return path


def submit(spec, url, *options, check=True):
    return vlsearch(
        "kubeflow", "submit", str(spec), "--host", url, "--poll", "0.1", *options, check=check
    )


def test_a_run_is_created_and_followed(spec, tmp_path):
    token = tmp_path / "token"
    token.write_text("t0ken\n", encoding="utf-8")
    api = PipelinesApi(token="t0ken", states=["RUNNING", "RUNNING", "SUCCEEDED"], tasks=TASKS[:1])
    with api.serve() as url:
        options = ("--token-file", str(token), "--run-name", "monday", "--steps", "50")
        result = submit(spec, url, *options, "--min", "recall@10=0.4")

    [run] = api.created
    parameters = run["runtime_config"]["parameters"]
    assert run["display_name"] == parameters["run_name"] == "monday"
    assert (parameters["steps"], parameters["baseline"]) == (50, "current")
    assert json.loads(parameters["thresholds"]) == {"recall@10": {"min": 0.4}}
    assert set(run["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert result.stdout.splitlines() == [
        f"Run {RUN}: {url}/#/runs/details/{RUN}",
        "click-example-gen    SUCCEEDED",
        f"Finished {RUN}",
    ]


def test_a_failed_run_ends_with_the_steps_own_message(spec):
    with PipelinesApi(states=["RUNNING", "FAILED"], tasks=TASKS).serve() as url:
        result = submit(spec, url, check=False)

    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == (
        f"Failed: Run {RUN} ended as FAILED. trainer: loss is not finite"
    )


def test_an_endpoint_that_is_away_for_a_while_is_asked_again(spec):
    busy = (503, "text/plain", "no healthy upstream")
    path = f"runs/{RUN}"
    with PipelinesApi(answer_with={path: [busy, busy]}).serve() as url:
        assert submit(spec, url).stdout.endswith(f"Finished {RUN}\n")
    with PipelinesApi(answer_with={path: busy}).serve() as url:
        result = submit(spec, url, check=False)
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: {url} is there but is not available now (HTTP 503: no healthy upstream). Try "
        "again in a while; `kubectl get pods -n kubeflow` shows what is not ready. Run "
        f"{RUN} goes on in the cluster.\n"
    )
    expired = (401, "application/json", '{"message": "expired"}')
    with PipelinesApi(answer_with={path: expired}).serve() as url:
        result = submit(spec, url, check=False)
    assert result.returncode == 2
    assert result.stderr.endswith(f"Run {RUN} goes on in the cluster.\n")


def test_no_token_a_wrong_one_and_a_refused_run(spec, monkeypatch):
    remedy = (
        "Give one with --token-file FILE or in VLSEARCH_KFP_TOKEN; in a pod, project a service "
        "account token for the audience pipelines.kubeflow.org to "
        "/var/run/secrets/kubeflow/pipelines/token."
    )
    with PipelinesApi(token="t0ken").serve() as url:
        without = submit(spec, url, check=False)
        monkeypatch.setenv("VLSEARCH_KFP_TOKEN", "old")
        wrong = submit(spec, url, check=False)
    with PipelinesApi(refuses="quota exceeded").serve() as other:
        refused = submit(spec, other, check=False)

    assert (without.returncode, wrong.returncode, refused.returncode) == (2, 2, 2)
    assert without.stderr == (
        f"Error: {url} wants a token, and none was given (HTTP 401). {remedy}\n"
    )
    assert wrong.stderr == f"Error: {url} does not accept the token (HTTP 401). {remedy}\n"
    assert refused.stderr == f"Error: {other} refuses the run (HTTP 400): quota exceeded\n"


def test_a_pods_own_token_is_used(spec, tmp_path, monkeypatch):
    from tfx_pipeline.runners.kubeflow_endpoint import Endpoint
    from tfx_pipeline.runners.kubeflow_submit import start_run

    token = tmp_path / "token"
    token.write_text("of the pod", encoding="utf-8")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    api = PipelinesApi(token="of the pod")
    with api.serve() as url:
        Endpoint(url).check()
        assert start_run(Endpoint(url), spec, {}, run_name="r", experiment="e") == RUN


def test_wrong_parameters(spec):
    from tfx_pipeline.runners.kubeflow_submit import settle_parameters

    with pytest.raises(UserError) as caught:
        settle_parameters(spec, {"step": 1})
    assert str(caught.value) == (
        f"{spec}: the spec has no parameter step. Parameters: baseline, data, lineage, resolved, "
        "run_name, steps, thresholds, version."
    )
    result = submit(spec, "http://127.0.0.1:1", "--min", "recall", check=False)
    assert result.stderr == (
        "Error: --min takes METRIC=VALUE, e.g. recall@10=0.4. Received: 'recall'.\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--run-name", "a\nb"), "--run-name is one line of at most 128 characters"),
        (("--run-name", "r" * 129), "--run-name is one line of at most 128 characters"),
        (("--experiment", " "), "--experiment is one line of at most 128 characters"),
        (("--namespace", "Team_A"), "--namespace must be a DNS label, such as team-search."),
        (("--service-account", "a..b"), "--service-account must be the name of one."),
    ],
)
def test_names_that_the_cluster_would_refuse(spec, options, message):
    result = submit(spec, "http://127.0.0.1:1", *options, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"Error: {message}")


def test_data_that_can_be_seen_are_looked_at_anew(spec, emoji_folder):
    from tfx_pipeline.runners.kubeflow_submit import settle_parameters

    unseen = settle_parameters(spec, {})
    seen = settle_parameters(spec, {"data": str(emoji_folder)})

    assert unseen["resolved"].startswith("not seen at submission, ")
    assert unseen["resolved"] != settle_parameters(spec, {})["resolved"]
    resolved = json.loads(seen["resolved"])
    assert resolved["folder"] == seen["data"] == str(emoji_folder)
    assert json.loads(seen["lineage"])["input"] == resolved["fingerprint"]
    assert settle_parameters(spec, {"data": str(emoji_folder)})["resolved"] == seen["resolved"]
