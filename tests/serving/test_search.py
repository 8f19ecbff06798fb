import numpy as np
import pytest

from serving.client import PredictClient
from serving.errors import ServingError, StatusError
from serving.model_server.options import release_options
from serving.model_server.server import ModelServer, ServerOptions
from serving.publish import publish_release, roll_back
from serving.search import SearchService, embedded_server
from tests.ports import free_ports


def test_search_through_an_embedded_server(release_root, words):
    with embedded_server(release_root) as client:
        service = SearchService(release_root, client)
        results = service.search(["猫", "RED shoe"], 3)
        assert [hits[0].id for hits in results] == ["猫", "red shoe"]
        assert results[0][0].uri == "version-1/猫"
        assert results[0][0].score == pytest.approx(1)
        assert [len(hits) for hits in results] == [3, 3]
        assert len(service.search(["猫"], 1000)[0]) == len(words)
        assert service.search([], 3) == []


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        ("猫", 3, r"queries is a list of texts; one text is a list of one: \['猫'\]"),
        (["猫", " \u200b"], 3, r"queries\[1\] is empty; say what to look for"),
        (["猫"], 2.5, r"k is a whole number, at least 1\. Received: k=2\.5"),
        (["猫"], True, "k is a whole number"),
        ([], 0, "k is a whole number"),
    ],
)
def test_what_cannot_be_asked(searched, queries, k, message):
    with pytest.raises(ServingError, match=message):
        searched.search(queries, k)


def test_numbers_of_numpy_and_huge_ones(searched, words):
    assert len(searched.search(np.array(["猫"]), np.int64(2))[0]) == 2
    assert len(searched.search(("猫",), 10**30)[0]) == len(words)


@pytest.fixture(scope="module")
def searched(tmp_path_factory, release_parts):
    """A service of release 1 on a server of its own."""
    root = tmp_path_factory.mktemp("searched") / "release"
    publish_release(root, 1, *release_parts(1))
    with embedded_server(root) as client:
        yield SearchService(root, client)


def test_new_release_waits_until_it_is_served(release_root, publish):
    """This server does not follow: release 2 is never loaded, and release 1 goes on answering."""
    options = release_options(release_root, port=None, rest_api_port=0)
    frozen = type(options)(**{**vars(options), "model_config_file_poll_wait_seconds": 0})
    with ModelServer(frozen) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        service = SearchService(release_root, client)
        publish(release_root, 2)
        assert service.search(["猫"], 1)[0][0].uri == "version-1/猫"
        # A service that starts now uses the release before, too.
        assert SearchService(release_root, client).release.version == 1
        publish(release_root, 3)
        assert service.search(["猫"], 1)[0][0].uri == "version-1/猫"
        with pytest.raises(ServingError, match=r"serves neither release 3 .* nor the one before"):
            SearchService(release_root, client)
        roll_back(release_root)
        roll_back(release_root)
        assert service.search(["猫"], 1)[0][0].uri == "version-1/猫"
        assert service.release.previous is None


def test_a_server_that_is_behind_others_answers_with_the_release_before(release_root, publish):
    """Two servers after each other at one address, as pods are behind a service."""
    [port] = free_ports(1)
    options = vars(release_options(release_root, port=port, rest_api_port=0))
    only_the_first = {**options, "model_config_file_poll_wait_seconds": 0}
    publish(release_root, 2)
    with PredictClient(f"127.0.0.1:{port}") as client:
        with ModelServer(ServerOptions(**options)):
            service = SearchService(release_root, client)
            assert service.search(["猫"], 1)[0][0].uri == "version-2/猫"
        config = release_root / "models.config"
        both = config.read_text(encoding="utf-8")
        config.write_text(both.replace("versions: 2", ""), encoding="utf-8")
        with ModelServer(ServerOptions(**only_the_first)):
            config.write_text(both, encoding="utf-8")
            assert service.search(["猫"], 1)[0][0].uri == "version-1/猫"
            assert service.search(["猫"], 1)[0][0].uri == "version-1/猫"
            assert service.release.version == 2
        with ModelServer(ServerOptions(**options)):
            assert service.search(["猫"], 1)[0][0].uri == "version-2/猫"


def test_a_server_without_the_release_and_none_before_is_said(release_root, publish, tmp_path):
    [port] = free_ports(1)
    publish(tmp_path / "other", 7)
    with PredictClient(f"127.0.0.1:{port}") as client:
        with ModelServer(release_options(release_root, port=port, rest_api_port=0)):
            service = SearchService(release_root, client)
        with (
            ModelServer(release_options(tmp_path / "other", port=port, rest_api_port=0)),
            pytest.raises(StatusError, match="Servable not found"),
        ):
            service.search(["猫"], 1)


def test_release_that_cannot_be_searched(tmp_path, release_parts):
    towers, _ = release_parts(1)
    publish_release(tmp_path, 1, towers, None)
    with (
        PredictClient("127.0.0.1:1") as client,
        pytest.raises(ServingError, match=r"Release 1 of .* cannot be searched: it needs"),
    ):
        SearchService(tmp_path, client)


def test_no_server(release_root):
    with (
        PredictClient("127.0.0.1:1") as client,
        pytest.raises(StatusError, match=r"No model server answers at 127\.0\.0\.1:1"),
    ):
        SearchService(release_root, client)


def test_no_release(tmp_path):
    with (
        pytest.raises(ServingError, match="is not a release root"),
        embedded_server(tmp_path),
    ):
        pass
