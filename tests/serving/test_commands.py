import subprocess
from pathlib import Path

import pytest

from serving.commands import command


@pytest.mark.parametrize(
    "root", ["/a b/c", "/it's", "$(touch x)", "/a;b&c", "生日", "~", "*", "a\nb"]
)
def test_a_shell_takes_words_for_what_they_are(root, tmp_path):
    done = subprocess.run(
        ["sh", "-c", command("printf", "%s|", root, Path("-rf"))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout == f"{root}|./-rf|"
    assert not list(tmp_path.iterdir())
