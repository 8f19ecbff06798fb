"""Real files, real sockets."""

import pytest

from serving.model_server.server import ModelServer, ServerOptions
from tests.serving.model_server.transitions.client import Client, push


@pytest.fixture
def serve(tmp_path):
    """(text of the model list, **options) -> a client of a ready server."""
    opened = []

    def serve(config, **options):
        path = tmp_path / "models.config"
        path.write_text(config)
        defaults = {
            "port": None,
            "rest_api_port": 0,
            "max_num_load_retries": 0,
            "file_system_poll_wait_seconds": 0.03,
        }
        server = ModelServer(ServerOptions(model_config_file=str(path), **{**defaults, **options}))
        opened.append(server)
        server.start()
        server.wait_until_ready(60)
        client = Client(server)
        opened.append(client)
        return client

    yield serve
    for item in reversed(opened):
        item.close() if isinstance(item, Client) else item.stop()


@pytest.fixture
def base(arithmetic, tmp_path):
    """Base path with version 1; `push` adds others."""
    base = tmp_path / "m"
    base.mkdir()
    push(arithmetic, base, 1)
    return base
