"""What test_interactive.py runs in IPython: sessions on the folder that the arguments name."""

import json
import shutil
import sys
from pathlib import Path

from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.runners.interactive import InteractiveRun

data, work = map(Path, sys.argv[1:])
config = write_tiny(work / "tiny.yaml")


def refusal(call):
    """The error that a call ends in."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


session = InteractiveRun(config, data=data, output=work / "run")
found = {
    "unknown": refusal(lambda: session.run("SchemaGem")),
    "unknown_until": refusal(lambda: session.run_until("Nothing")),
    "too_early": refusal(lambda: session.run("TextTransform")),
    "not_run": refusal(lambda: session.artifact("ClickExampleGen", "rejected")),
    "no_output": refusal(lambda: session.artifact("ClickExampleGen", "rejects")),
    "no_result": refusal(lambda: session.result),
}
print("--- first")
session.run("ClickExampleGen")
session.run_until("ExampleValidator")
found["rows"] = session.artifact("ClickExampleGen", "rejected").get_int_custom_property("rows")
found["repr"] = repr(session)

print("--- again")
again = InteractiveRun(config, data=data, output=work / "run")
again.run_until("SchemaGen")
again.run("StatisticsGen")  # from the cache, so the schema still stands
found["kept"] = (
    again.artifact("SchemaGen", "schema").uri == session.artifact("SchemaGen", "schema").uri
)

print("--- lost")
shutil.rmtree(again.artifact("StatisticsGen", "statistics").uri)
again.run("StatisticsGen")  # made anew, so what builds on it no longer stands
found["stale"] = refusal(lambda: again.artifact("SchemaGen", "schema"))

print("--- nothing to evaluate")
splits = "data.splits={policy: by_query, train: 1, val: 0, test: 0}"
empty = InteractiveRun(config, [splits], data=data, output=work / "empty")
found["empty"] = [refusal(lambda: empty.run_until("StatisticsGen")) for _ in range(2)]

(work / "found.json").write_text(json.dumps(found), encoding="utf-8")
