"""A stand-in for the API of Kubeflow Pipelines: takes one run and tells a prepared story of it."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RUN = "0f5c2f4e"


class PipelinesApi:
    """What the endpoint was asked, and what it answers.

    Attributes:
      token: that it wants, or None.
      states: of the run, one for every look; the last one stays.
      tasks: `task_details` of the run.
      refuses: message of a refusal of new runs.
      answer_with: (status, content type, text, further headers) by path, instead of the story;
        a list is used up one by one.
      created: bodies of the runs that were created.
    """

    def __init__(self, token=None, states=("SUCCEEDED",), tasks=(), refuses=None, answer_with=None):
        self.answer_with = dict(answer_with or {})
        self.token = token
        self.states = list(states)
        self.tasks = list(tasks)
        self.refuses = refuses
        self.created = []

    @contextlib.contextmanager
    def serve(self):
        """Yields the URL."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                api.answer(self, None)

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                api.answer(self, json.loads(self.rfile.read(length)))

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, request, body):
        path = request.path.split("?")[0].removeprefix("/apis/v2beta1/")
        code, values = 200, {}
        if self.answer_with.get(path):
            given = self.answer_with[path]
            _send(request, *(given.pop(0) if isinstance(given, list) else given))
            return
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            code, values = 401, {"message": "unauthenticated"}
        elif path == "healthz":
            values = {"multi_user": False}
        elif path == "experiments" and body is None:
            values = {"experiments": []}
        elif path == "experiments":
            values = {**body, "experiment_id": "e1"}
        elif path == "runs" and self.refuses:
            code, values = 400, {"message": self.refuses}
        elif path == "runs":
            self.created.append(body)
            values = {**body, "run_id": RUN, "state": "PENDING"}
        elif path == f"runs/{RUN}":
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            values = {"run_id": RUN, "state": state, "run_details": {"task_details": self.tasks}}
        else:
            code, values = 404, {"message": f"no {path}"}
        _send(request, code, "application/json", json.dumps(values))


def _send(request, code, content_type, text, headers=()):
    request.send_response(code)
    request.send_header("Content-Type", content_type)
    request.send_header("Content-Length", str(len(text.encode())))
    for name, value in headers:
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(text.encode())
