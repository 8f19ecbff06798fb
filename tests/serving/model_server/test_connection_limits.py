import resource
import subprocess
import sys

import pytest

CODE = """
import resource, sys
from serving.model_server.connection_limits import connection_limits
soft = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
print(*connection_limits(with_rest=True), *connection_limits(with_rest=False))
"""


@pytest.mark.parametrize("soft", [16, 64, 1024])
def test_both_together_leave_some(soft):
    done = subprocess.run([sys.executable, "-c", CODE, str(soft)], capture_output=True, check=True)
    grpc, rest, alone, _ = map(int, done.stdout.split())
    assert 4 <= grpc == rest
    assert alone <= soft
    if soft > 16:
        assert grpc + rest < soft - 16
        assert alone > grpc


def test_without_a_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 1 << 18:
        pytest.skip("needs the right to many open files")
    done = subprocess.run([sys.executable, "-c", CODE, str(hard)], capture_output=True, check=True)
    assert set(done.stdout.split()) == {b"65536"}
