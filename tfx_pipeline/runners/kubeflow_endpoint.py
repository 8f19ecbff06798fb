"""Where Kubeflow Pipelines answers, as whom to ask, and what its refusals mean."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from serving.loopback import is_loopback
from vl_models.errors import Unavailable, UserError

TOKEN_VARIABLE = "VLSEARCH_KFP_TOKEN"
_TOKEN_FILE = Path("/var/run/secrets/kubeflow/pipelines/token")  # projected into pods
_TOKEN_FILE_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
_HEALTH = "/apis/v2beta1/healthz"
_CONNECT_S = 10


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


def given_token(file: Path | None) -> str | None:
    """Return the bearer token from a file, else from the environment; None: there is none.

    Raises:
        UserError: it cannot be a token. It says where it came from, and does not show it.
    """
    if file is not None:
        return _read_token(file)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return _checked_token(token, f"the variable {TOKEN_VARIABLE}") if token else None


def _read_token(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"{file}: the token cannot be read: {error.strerror}.") from None
    return _checked_token(text.strip(), str(file))


def _checked_token(token: str, source: str) -> str:
    if re.fullmatch(r"[ -~]+", token) and not token.lower().startswith("bearer "):
        return token
    what = "has line breaks or letters that no token has" if token else "is empty"
    raise UserError(
        f"The token in {source} {what}. It is a line of ASCII characters, alone there, without the "
        "word Bearer before it."
    )


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where Kubeflow Pipelines answers, and as whom to ask.

    Attributes:
        host: URL of the API.
        token: bearer token; None: the pod's own identity if there is one, else none at all.
        namespace: of the profile; None on installations for one user.
        ca_file: certificates to trust beside the system's.

    Raises:
        UserError: the host is no URL of a server, or the token cannot be one.
    """

    host: str
    token: str | None = dataclasses.field(default=None, repr=False)
    namespace: str | None = None
    ca_file: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", _checked_url(self.host))
        if self.token is not None:
            _checked_token(self.token, "`token`")

    def check(self) -> None:
        """Ask whether anybody is there who takes the token.

        Raises:
            UserError: nobody answers, the login is refused, or it is something else that answers.
            Unavailable: it is there and cannot answer now.
        """
        login = _Bearer(self.token or _own_token())
        try:
            answer = requests.get(
                self.host + _HEALTH,
                auth=login,
                timeout=_CONNECT_S,
                allow_redirects=False,
                verify=self.ca_file or True,
                proxies={"no_proxy": "*"} if self._is_local() else None,
            )
        except (requests.RequestException, ValueError) as error:
            by_proxy = isinstance(error, requests.exceptions.ProxyError)
            raise UserError(
                f"{self.host}: Kubeflow Pipelines does not answer ({_reason(error)}). Is the "
                "address right, and reachable from here? From outside the cluster: kubectl "
                "port-forward -n kubeflow svc/ml-pipeline-ui 8080:80, and --host "
                "http://localhost:8080."
                + (
                    " The environment names a proxy; hosts in no_proxy are reached without it."
                    if by_proxy
                    else ""
                )
            ) from None
        if answer.is_redirect:
            raise self._redirected(answer)
        if refusal := self.refusal(answer.status_code, answer.text):
            raise refusal
        try:
            is_api = answer.status_code == 200 and isinstance(answer.json(), dict)
        except (requests.RequestException, RecursionError):
            is_api = False
        if not is_api:
            kind = answer.headers.get("Content-Type", "").partition(";")[0]
            page = ", a web page, perhaps that of a login" if kind == "text/html" else ""
            raise UserError(
                f"{self.host}: what answers is not the API of Kubeflow Pipelines v2 (HTTP "
                f"{answer.status_code} from {_HEALTH}{page}). Check the address."
            )

    def refusal(self, status: int, body: Any) -> UserError | Unavailable | None:
        """Return what an HTTP status says of the login or of the server; None: neither."""
        said = message(body)
        if status == 403 and self._has_token():
            return UserError(
                f"{self.host}: the owner of the token may not do this (HTTP 403: {said}). Name "
                "their profile with --namespace, or have their rights extended; a token for "
                "another audience is refused like this, too."
            )
        if status in (401, 403):
            return self._login_refused(status)
        if status == 429 or status >= 500:
            return Unavailable(
                f"{self.host} is there but is not available now (HTTP {status}: {said}). Try "
                "again in a while; `kubectl get pods -n kubeflow` shows what is not ready."
            )
        return None

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
                proxy=self._proxy(),
            )

    def _has_token(self) -> bool:
        return (self.token or _own_token()) is not None

    def _is_local(self) -> bool:
        return is_loopback(urlsplit(self.host).hostname or "")

    def _proxy(self) -> str | None:
        """Return the environment's proxy for the host, which Kubeflow's client does not look up."""
        if self._is_local():
            return None
        proxies = requests.utils.get_environ_proxies(self.host)
        proxy = requests.utils.select_proxy(self.host, proxies)
        return proxy if proxy and proxy.startswith(("http://", "https://")) else None

    def _login_refused(self, status: int) -> UserError:
        had = (
            "does not accept the token"
            if self._has_token()
            else "wants a token, and none was given"
        )
        return UserError(
            f"{self.host} {had} (HTTP {status}). Give one with --token-file FILE or in "
            f"{TOKEN_VARIABLE}; in a pod, project a service account token for the audience "
            f"pipelines.kubeflow.org to {_TOKEN_FILE}."
        )

    def _redirected(self, answer: requests.Response) -> UserError:
        """Return the error for a redirect: to another place of the API, or to a login."""
        target = urlsplit(answer.headers["Location"])
        place = target.path.rstrip("/")
        if not place.endswith(_HEALTH):
            return self._login_refused(answer.status_code)
        host = target.netloc.rpartition("@")[2]
        path = place.removesuffix(_HEALTH)
        moved = f"{target.scheme}://{host}{path}" if host else path
        return UserError(
            f"{self.host}: the API is at another place (HTTP {answer.status_code}). Give --host "
            f"{moved}."
        )


class _Bearer(requests.auth.AuthBase):
    """Sends the token, or nothing; `requests` would look into ~/.netrc otherwise."""

    def __init__(self, token: str | None):
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def message(body: Any) -> str:
    """Return the message in an error's JSON, or the text itself if it is no web page."""
    if isinstance(body, bytes):
        body = body.decode("utf-8", errors="replace")
    try:
        said = json.loads(body)["message"]
    except (TypeError, ValueError, KeyError, RecursionError):
        said = body
    text = str(said or "").strip()
    if text.startswith("<"):
        return "a web page"
    return text[:500] or "no message"


def _own_token() -> str | None:
    """Return the token of the pod that this runs in."""
    path = Path(os.environ.get(_TOKEN_FILE_VARIABLE) or _TOKEN_FILE)
    return _read_token(path) if path.is_file() else None


def _checked_url(text: str) -> str:
    """Return the URL without what the browser's address line adds.

    Raises:
        UserError: it is no URL of a server.
    """
    example = "It is a URL such as http://localhost:8080 or https://kubeflow.example.org/pipeline."
    url = text.strip()
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise UserError(
            "--host (KF_PIPELINES_ENDPOINT) has a user or a password (not shown here). "
            f"{example} A token goes into --token-file FILE or {TOKEN_VARIABLE}."
        )
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", url):
        raise UserError(f"--host (KF_PIPELINES_ENDPOINT): {example} Received: {text!r}.")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def _reason(error: Exception) -> str:
    """Return the innermost reason, which is the one that tells."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {_CONNECT_S} s"
    reason: BaseException = error
    while isinstance(cause := reason.__cause__ or reason.__context__, BaseException):
        reason = cause
    return str(reason).removeprefix("[Errno 111] ")
