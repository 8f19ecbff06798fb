import subprocess
import sys

from tests.tfx_pipeline.conftest import REPOSITORY

LOGGING = """
import logging, sys
from pathlib import Path
from tfx_pipeline.cli.logs import log_to_file

logging.warning("of a library, while it is imported")  # gives the root logger a handler
log_to_file(Path(sys.argv[1]))
logging.info("of a step")
"""


def test_what_is_logged_goes_to_the_file_even_if_a_library_logged_before(tmp_path):
    path = tmp_path / "run.log"
    command = [sys.executable, "-c", LOGGING, str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "of a step" not in done.stderr
    assert "I root: of a step" in path.read_text(encoding="utf-8")
