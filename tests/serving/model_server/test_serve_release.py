import threading
import time

import numpy as np
import pytest

from serving.client import PredictClient
from serving.errors import ServingError
from serving.model_server.options import release_options
from serving.model_server.server import ModelServer
from serving.publish import roll_back
from serving.search import SearchService
from tests.serving.waiting import wait_until


def test_no_release_and_release_without_a_model(tmp_path, release_root):
    with pytest.raises(ServingError, match=f"{tmp_path} is not a release root"):
        release_options(tmp_path)
    (release_root / "models.config").unlink()
    with pytest.raises(ServingError, match=r"has a release\.json but no models\.config"):
        release_options(release_root)
    (release_root / "text_tower/1/saved_model.pb").unlink()
    with pytest.raises(ServingError, match="Release folder without a model: release 1"):
        release_options(release_root)


def test_releases_change_under_load_without_a_failed_or_mixed_request(release_root, publish, words):
    """Four threads search while releases 2 and 3 are published and 3 is rolled back."""
    options = release_options(release_root, port=None, rest_api_port=0)
    failures: list[BaseException] = []
    answers: list[int] = []
    done = threading.Event()

    def search(service):
        while not done.is_set():
            try:
                results = service.search(words, 2)
                for word, hits in zip(words, results):
                    # Mixed versions would not find the word with similarity 1: tables differ.
                    assert hits[0].id == word
                    assert hits[0].score == pytest.approx(1, abs=1e-5)
                    answers.append(int(hits[0].uri.split("/")[0].removeprefix("version-")))
            except BaseException as error:
                failures.append(error)
                return

    def wait_for(version):
        deadline = time.monotonic() + 30
        while not (answers and answers[-1] == version):
            assert not failures, failures
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with ModelServer(options) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        service = SearchService(release_root, client)
        threads = [threading.Thread(target=search, args=(service,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_for(1)
            publish(release_root, 2)
            wait_for(2)
            publish(release_root, 3)
            wait_for(3)
            roll_back(release_root)
            wait_for(2)
            # The server follows: 3 is unloaded and 1 loaded again.
            states = [(3, "END"), (2, "AVAILABLE"), (1, "AVAILABLE")]
            wait_until(
                lambda: [(s.version, s.state) for s in client.model_status("text_tower")] == states
            )
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert not failures
        assert service.release.version == 2
        assert np.unique(answers).tolist() == [1, 2, 3]
