"""Where Kubeflow Pipelines answers: addresses, tokens, and what answers mean."""

import os
import socket
import subprocess
import sys
import traceback

import pytest

from tests.proxies import CountingProxy
from tests.tfx_pipeline.conftest import REPOSITORY
from tests.tfx_pipeline.runners.pipelines_api import PipelinesApi
from tfx_pipeline.runners.kubeflow_endpoint import (
    TOKEN_VARIABLE,
    Endpoint,
    default_host,
    given_token,
)
from vl_models.errors import Unavailable, UserError

SECRET = "s3same"


def test_an_endpoint_that_is_not_there_or_is_something_else():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError) as caught:
            Endpoint(host).check()
    assert str(caught.value) == (
        f"{host}: Kubeflow Pipelines does not answer (Connection refused). Is the address right, "
        "and reachable from here? From outside the cluster: kubectl port-forward -n kubeflow "
        "svc/ml-pipeline-ui 8080:80, and --host http://localhost:8080."
    )
    with PipelinesApi().serve() as url, pytest.raises(UserError) as caught:
        Endpoint(f"{url}/elsewhere").check()
    assert str(caught.value) == (
        f"{url}/elsewhere: what answers is not the API of Kubeflow Pipelines v2 (HTTP 404 from "
        "/apis/v2beta1/healthz). Check the address."
    )


def test_without_a_host_it_is_the_pods_own_cluster(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UserError) as caught:
        default_host()
    assert str(caught.value) == (
        "Where is Kubeflow Pipelines? This is no pod of a cluster: give --host URL, or set "
        "KF_PIPELINES_ENDPOINT."
    )
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert default_host() == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


LOGIN = "wants a token, and none was given"
NESTED = "[" * 100_000


@pytest.mark.parametrize(
    ("answer", "token", "kind", "message"),
    [
        ((401, "text/plain", "no"), None, UserError, f"{LOGIN} (HTTP 401). Give one with"),
        ((403, "text/plain", "no"), None, UserError, f"{LOGIN} (HTTP 403). Give one with"),
        ((401, "text/plain", "no"), SECRET, UserError, "does not accept the token (HTTP 401)."),
        (
            (403, "text/plain", "RBAC: access denied"),
            SECRET,
            UserError,
            "the owner of the token may not do this (HTTP 403: RBAC: access denied). Name their",
        ),
        (
            (302, "text/html", "", [("Location", "/dex/auth?state=1")]),
            None,
            UserError,
            f"{LOGIN} (HTTP 302).",
        ),
        (
            (301, "text/html", "", [("Location", "https://me:pw@kf.org/x/apis/v2beta1/healthz")]),
            None,
            UserError,
            ": the API is at another place (HTTP 301). Give --host https://kf.org/x.",
        ),
        (
            (503, "text/html", "<html>upstream</html>"),
            None,
            Unavailable,
            " is there but is not available now (HTTP 503: a web page). Try again in a while; ",
        ),
        ((500, "application/json", "{}"), None, Unavailable, "available now (HTTP 500: {})."),
        ((429, "text/plain", ""), SECRET, Unavailable, "available now (HTTP 429: no message)."),
        (
            (404, "text/plain", "no"),
            None,
            UserError,
            ": what answers is not the API of Kubeflow Pipelines v2 (HTTP 404 from ",
        ),
        (
            (200, "text/html; charset=utf-8", "<!doctype html>"),
            None,
            UserError,
            "(HTTP 200 from /apis/v2beta1/healthz, a web page, perhaps that of a login). Check",
        ),
        ((200, "application/json", "[]"), None, UserError, "is not the API of Kubeflow Pipelines"),
        (
            (200, "application/json", NESTED),
            None,
            UserError,
            "is not the API of Kubeflow Pipelines",
        ),
        ((500, "application/json", NESTED), None, Unavailable, "available now (HTTP 500: [[[["),
        ((500, "application/json", '{"message": null}'), None, Unavailable, "500: no message)."),
        (
            (301, "text/html", "", [("Location", "https://kf.org/apis/v2beta1/healthz/")]),
            None,
            UserError,
            ": the API is at another place (HTTP 301). Give --host https://kf.org.",
        ),
    ],
)
def test_what_answers_mean(answer, token, kind, message):
    api = PipelinesApi(answer_with={"healthz": answer})
    with api.serve() as url, pytest.raises((UserError, Unavailable)) as caught:
        Endpoint(url, token).check()
    assert type(caught.value) is kind
    assert str(caught.value).startswith(url)
    assert message in str(caught.value)
    assert "pw" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(UserError) as caught:
        Endpoint("http://kubeflow.invalid").check()
    assert str(caught.value).endswith(
        " The environment names a proxy; hosts in no_proxy are reached without it."
    )


def test_an_address_line_of_a_browser():
    with PipelinesApi().serve() as url:
        endpoint = Endpoint(f" {url}/#/pipelines ")
        endpoint.check()
        assert endpoint.host == url


@pytest.mark.parametrize(
    "host",
    ["localhost:8080", "ftp://a", "http://", "http://a:99999", "http://a b", "grpc://a:1", "", "a"],
)
def test_an_address_that_is_none(host):
    with pytest.raises(UserError) as caught:
        Endpoint(host)
    assert str(caught.value) == (
        "--host (KF_PIPELINES_ENDPOINT): It is a URL such as http://localhost:8080 or "
        f"https://kubeflow.example.org/pipeline. Received: {host!r}."
    )


def test_a_password_in_the_address_is_refused_and_not_shown():
    with pytest.raises(UserError, match="has a user or a password") as caught:
        Endpoint(f"https://me:{SECRET}@kubeflow.example.org")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", [f"{SECRET}\n", f"\ufeff{SECRET}\r\n\n", f" {SECRET} "])
def test_a_token_file(tmp_path, text):
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    assert given_token(file) == SECRET


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b" \n", "is empty"),
        (f"{SECRET}\nsecond".encode(), "has line breaks or letters"),
        (f"Bearer {SECRET}".encode(), "has line breaks or letters"),
        (f"{SECRET}é".encode(), "has line breaks or letters"),
        (SECRET.encode() + b"\xff\x00", "has line breaks or letters"),
    ],
)
def test_what_is_no_token_is_said_with_its_place_and_not_shown(
    tmp_path, monkeypatch, content, what
):
    file = tmp_path / "token"
    file.write_bytes(content)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    for read in (lambda: given_token(file), lambda: Endpoint("http://127.0.0.1:1").check()):
        with pytest.raises(UserError) as caught:
            read()
        assert str(caught.value).startswith(f"The token in {file} {what}")
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_the_token_of_a_variable(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, f"{SECRET}\n")
    assert given_token(None) == SECRET
    monkeypatch.setenv(TOKEN_VARIABLE, f"{SECRET}\n{SECRET}")
    with pytest.raises(
        UserError, match=rf"The token in the variable {TOKEN_VARIABLE} has"
    ) as caught:
        given_token(None)
    assert SECRET not in str(caught.value)
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    assert given_token(None) is None


def test_a_token_stays_out_of_texts():
    assert SECRET not in repr(Endpoint("http://a", SECRET))
    with pytest.raises(UserError) as caught:
        Endpoint("http://a", f"{SECRET}\n")
    assert SECRET not in str(caught.value)


CHECK = """
import sys
from tfx_pipeline.runners.kubeflow_endpoint import Endpoint
from vl_models.errors import Unavailable

Endpoint(sys.argv[1], "t0ken").check()
Endpoint(sys.argv[1], "t0ken").client().get_kfp_healthz()
try:
    Endpoint("http://kubeflow.invalid", "t0ken").check()
except Unavailable as error:
    print(error)
"""


def test_loopback_is_asked_without_a_proxy_and_without_netrc(tmp_path):
    """~/.netrc must not take the place of the token."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password other\n")
    with PipelinesApi(token="t0ken").serve() as url, CountingProxy() as proxy:
        done = subprocess.run(
            [sys.executable, "-c", CHECK, url],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, **proxy.environment, "no_proxy": "", "HOME": str(tmp_path)},
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert proxy.requests == ["GET http://kubeflow.invalid/apis/v2beta1/healthz HTTP/1.1"]
    assert "http://kubeflow.invalid is there but is not available now (HTTP 502" in done.stdout
