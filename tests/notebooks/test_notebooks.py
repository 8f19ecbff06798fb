"""The notebooks: each is run from its first cell to its last, in a kernel of its own."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from serving.release import Release

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PIPELINE, COMPARISON, SERVER = NAMES = (
    "01_interactive_pipeline",
    "02_train_and_compare",
    "03_query_the_server",
)
SMALL = {
    "VLSEARCH_NOTEBOOKS_EMOJI": "60",
    "VLSEARCH_NOTEBOOKS_IMPRESSIONS": "6000",
    "VLSEARCH_NOTEBOOKS_STEPS": "40",
    "VLSEARCH_NOTEBOOKS_CONFIGS": "emoji siglip",
}


@dataclasses.dataclass(frozen=True)
class Executed:
    """A notebook with its outputs, and what an expression was worth after its last cell."""

    notebook: nbformat.NotebookNode
    value: dict

    def outputs(self, kind):
        """Contents of all outputs of a MIME type."""
        found = [output for cell in self.notebook.cells for output in cell.get("outputs", ())]
        return [output.data[kind] for output in found if kind in output.get("data", {})]

    def streams(self):
        """Names of the streams that cells wrote to, and all that they wrote."""
        found = [output for cell in self.notebook.cells for output in cell.get("outputs", ())]
        streams = [output for output in found if output.output_type == "stream"]
        return {stream.name for stream in streams}, "".join(stream.text for stream in streams)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What stands for build/notebooks: the third notebook serves what the first one releases."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def execute(folder, tmp_path_factory):
    """Runs a notebook with this Python, whatever kernels the machine has."""
    jupyter = tmp_path_factory.mktemp("jupyter")
    kernel = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
    }
    (jupyter / "kernels" / "python3").mkdir(parents=True)
    (jupyter / "kernels" / "python3" / "kernel.json").write_text(json.dumps(kernel))
    own = {"JUPYTER_PATH": jupyter, "JUPYTER_RUNTIME_DIR": jupyter, "IPYTHONDIR": jupyter}

    def run(name, expression):
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        probe = f"import json\nprint(json.dumps({expression}))"
        notebook.cells.append(nbformat.v4.new_code_cell(probe, id="probe"))
        client = NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}
        )
        with pytest.MonkeyPatch.context() as patch:
            for key, value in own.items():
                patch.setenv(key, str(value))
            environment = {**os.environ, **SMALL, "VLSEARCH_NOTEBOOKS": str(folder)}
            # A kernel that finds it lets the streams' file descriptors be, unlike a user's.
            environment.pop("PYTEST_CURRENT_TEST", None)
            client.execute(env=environment)
        [output] = notebook.cells.pop().outputs
        return Executed(notebook, json.loads(output.text))

    return run


@pytest.fixture(scope="module")
def pipeline(execute):
    return execute(
        PIPELINE,
        """{
            "rejected": sorted(rejected["reason"]),
            "features": list(statistics["feature"]),
            "anomalies": len(anomalies),
            "tokens": tokens,
            "losses": losses,
            "metrics": metrics,
            "version": result.released_version,
            "report": str(result.report_file),
            "answers": [[query, [hit.id for hit in hits]] for query, hits in zip(queries, answers)],
            "found": found.to_dict("records"),
            "files": sorted(path.name for path in FOLDER.iterdir()),
        }""",
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_notebooks_hold_no_outputs(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert notebook.nbformat == 4 and notebook.metadata.kernelspec.name == "python3"
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert [cell.execution_count for cell in code] == [None] * len(code)
    assert {tuple(cell.metadata) for cell in code} == {(), ("tags",)}
    # The sizes are in the first code cell, marked as other tools mark it.
    assert [cell.metadata.get("tags") for cell in code].index(["parameters"]) == 0
    assert notebook.cells[0].cell_type == "markdown"


def test_every_notebook_is_tested():
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == list(NAMES)


@pytest.mark.slow
def test_the_pipeline_step_by_step(pipeline, folder):
    value = pipeline.value

    assert value["rejected"] == ["bad_position", "bad_split", "image_missing", "missing_query"]
    assert {"query/text", "query/language", "image/id"} <= set(value["features"])
    assert "image/encoded" not in value["features"]
    assert value["tokens"]["笑脸"] == ["[CLS]", "笑", "脸", "[SEP]"]
    assert value["losses"][-1] < value["losses"][0]
    for key in ("recall@10", "mrr", "language=zh/recall@10"):
        assert 0 <= value["metrics"][key] <= 1
    assert value["version"] == 1
    assert Release.load(folder / "pipeline" / "serving").metrics == value["metrics"]
    assert Path(value["report"]).is_file()
    # Three English queries and three Chinese ones.
    assert [query.isascii() for query, _ in value["answers"]] == [True] * 3 + [False] * 3
    assert [len(set(hits)) for _, hits in value["answers"]] == [8] * 6


@pytest.mark.slow
def test_a_broken_day_is_found_by_the_curated_schema(pipeline):
    assert pipeline.value["anomalies"] == 0
    assert {row["feature"] for row in pipeline.value["found"]} == {"query/language"}
    assert all("chinese" in row["anomaly"] for row in pipeline.value["found"])
    # The broken run goes as far as the check, and releases nothing.
    assert {"serving", "broken-run"} <= set(pipeline.value["files"])


@pytest.mark.slow
def test_cells_show_pictures_and_progress_and_no_messages_of_libraries(pipeline, folder):
    pictures = [page.count("data:image/jpeg") for page in pipeline.outputs("text/html")]
    names, text = pipeline.streams()

    assert [count for count in pictures if count and count != max(pictures)] == [8] * 7
    assert len(pipeline.outputs("image/png")) == 1  # the training curve
    assert names == {"stdout"}
    assert not pipeline.outputs("application/javascript")
    for line in ("[ 1/11] ClickExampleGen ", "[11/11] ReleasePusher ", "ImportSchemaGen "):
        assert line in text
    log = folder / "pipeline" / "interactive" / "run.log"
    assert "Released version 1" in log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_train_and_compare(execute):
    executed = execute(
        COMPARISON,
        """{
            "errors": [contestant.error for contestant in contestants],
            "steps": [contestant.budget.steps for contestant in contestants],
            "metrics": {
                key: [[one.value, one.interval.low, one.interval.high, one.verdict] for one in row]
                for key, row in comparison.metrics.items() if key in ("recall@10", "mrr")
            },
        }""",
    )
    value = executed.value

    assert value["errors"] == ["", ""]
    assert value["steps"] == [40, 40]
    assert sorted(value["metrics"]) == ["mrr", "recall@10"]
    for first, second in value["metrics"].values():
        assert first[1] <= first[0] <= first[2] and second[1] <= second[0] <= second[2]
        assert first[3] == "" and second[3] in ("better", "worse", "within")
    quality, cost, _ = executed.outputs("text/html")[-3:]
    assert "siglip" in quality and "recall@10" in quality and "samples/s" in cost
    assert len(executed.outputs("image/png")) == 2  # the metrics, the training curves
    names, text = executed.streams()
    assert names == {"stdout"} and "siglip, seed 0: 40 steps" in text


@pytest.mark.slow
def test_query_the_server(execute, pipeline):
    executed = execute(
        SERVER,
        """{
            "made": str(made),
            "tensorflow": "tensorflow" in sys.modules,
            "answers": [[hit.id for hit in hits] for hits in answers],
            "similar": [picture.stem, similar[0].id],
            "rest": float(np.abs(over_rest - embeddings).max()),
            "batch": batch.shape,
            "refused": [refused.code.name, str(refused)],
            "canary": float(np.abs(canary["embedding"] - embeddings).max()),
            "rolled_back": [before, search.release.version],
            "states": [[state.version, state.state] for state in states],
            "returncode": server.returncode,
        }""",
    )
    value = executed.value

    assert Path(value["made"]).parts[-2:] == ("pipeline", "serving")
    assert not value["tensorflow"]
    assert [len(set(hits)) for hits in value["answers"]] == [8] * 4
    assert value["similar"][0] == value["similar"][1]
    assert value["rest"] == pytest.approx(0, abs=1e-6)
    assert value["batch"] == [400, 64]
    assert value["refused"][0] == "NOT_FOUND" and "text_tower" in value["refused"][1]
    assert value["canary"] == pytest.approx(0, abs=1e-5)
    assert value["rolled_back"] == [2, 1]
    assert value["states"] == [[2, "END"], [1, "AVAILABLE"]]
    assert value["returncode"] == 0
    shown = [page.count("data:image/jpeg") for page in executed.outputs("text/html")]
    assert shown == [8] * 5
    names, text = executed.streams()
    # Rolling back warns of what it takes out of models.config, and nothing else warns.
    assert names == {"stdout", "stderr"}
    assert "the label 'canary' of text_tower meant version 2, which is no longer served" in text
