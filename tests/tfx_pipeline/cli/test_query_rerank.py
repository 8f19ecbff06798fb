"""`vlsearch query --rerank` on a real server."""

import pytest

from serving.model_server.options import release_options
from serving.model_server.server import ModelServer
from serving.publish import publish_release
from tests.serving.rerankers import BRIGHTNESS, reranked_parts
from tests.tfx_pipeline.conftest import vlsearch


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A release with a reranker and the address of its server, as arguments."""
    folder = tmp_path_factory.mktemp("query_rerank")
    publish_release(folder / "root", 1, *reranked_parts(folder / "parts"))
    with ModelServer(release_options(folder / "root", port=None, rest_api_port=0)) as server:
        yield ["--release", str(folder / "root"), "--server", f"127.0.0.1:{server.grpc_port}"]


def ids(told):
    """Image ids in the order of the table."""
    lines = [line for line in told.splitlines() if ".png" in line]
    return [next(one for one in BRIGHTNESS if f" {one} " in line) for line in lines]


def test_the_rerankers_order_is_shown_and_said(served):
    told = vlsearch("query", "猫", *served, "--rerank", "5").stdout
    assert ids(told) == sorted(BRIGHTNESS, key=BRIGHTNESS.get, reverse=True)
    assert " reranker " in told and " 101.0000 " in told
    assert told.splitlines()[-1] == "Order: the reranker's."


def test_the_towers_order_of_a_late_reranker_is_said(served):
    towers = vlsearch("query", "slow", *served, "--rerank", "0").stdout
    told = vlsearch("query", "slow", *served, "--rerank-deadline", "0.3").stdout
    assert ids(told) == ids(towers)
    assert "reranker" not in towers
    assert told.splitlines()[-1] == (
        "The towers' order, without the reranker: it took longer than 0.3 s"
    )


def test_the_order_may_be_a_sum(served):
    towers = vlsearch("query", "猫", *served, "--rerank", "0").stdout
    order = ["--rerank-order", "sum", "--rerank-weight", "0"]
    assert ids(vlsearch("query", "猫", *served, *order).stdout) == ids(towers)
    wrong = vlsearch("query", "猫", *served, "--rerank-order", "best", check=False)
    assert wrong.returncode == 2
    assert "is one of score, sum. Received: order='best'." in wrong.stderr
