"""All reported inputs that one process reads, by name."""

from tests.reported_inputs import caption_files, click_logs

CASES = {case.name: case for case in (*click_logs.CASES, *caption_files.CASES)}
