import csv
import io
import re

import pytest

from tfx_pipeline.comparison.quality import measure
from tfx_pipeline.comparison.table import (
    Comparison,
    budget_rows,
    cost_rows,
    csv_text,
    html_text,
    quality_rows,
    write_tables,
)
from tfx_pipeline.evaluation.config import BootstrapConfig


@pytest.fixture
def comparison(contestant):
    contestants = [
        contestant("base", [0.0, 0.5] * 8),
        contestant("<b>bold", [0.5, 1.0] * 8, [0.5, 1.0] * 8),
        contestant("broken", error="Loss 'contrastive' became nan at step 3."),
    ]
    bootstrap = BootstrapConfig(samples=200)
    metrics = {key: measure(contestants, key, bootstrap) for key in ("recall@10", "modality_gap")}
    return Comparison(contestants, metrics, bootstrap.confidence, ["test"], "build/data")


def test_quality_names_value_interval_and_verdict(comparison):
    headings, rows = quality_rows(comparison)

    assert headings == ["experiment", "recall@10", "modality_gap"]
    assert [row[0] for row in rows] == ["base", "<b>bold"]
    value, interval = rows[0][1].split("\n")
    assert value == "0.250" and re.fullmatch(r"\[0\.\d{3}, 0\.\d{3}\]", interval)
    assert rows[1][1].split("\n")[0] == "0.750 ± 0.000"
    assert rows[1][1].endswith("\n+0.500 better")
    assert rows[0][2] == "0.500"


def test_cost_is_in_millions_and_means_over_the_seeds(comparison):
    headings, rows = cost_rows(comparison)

    assert "peak GPU MiB" not in headings  # there was none
    assert rows[0] == [
        "base", "1.50", "–", "2.00", "4.00", "100", "10", "1,000", "contrastive 1.250",
    ]  # fmt: skip
    assert rows[1][5:8] == ["150", "10", "1,001"]  # speeds 100 and 200; the larger peak


def test_budget_says_how_each_was_trained_and_why_not(comparison):
    headings, rows = budget_rows(comparison)

    assert dict(zip(headings, rows[1])) == {
        "experiment": "<b>bold", "system": "clip", "samples": "640", "steps": "40", "batch": "16",
        "warm-up": "4", "seeds": "0, 1", "outcome": "done",
    }  # fmt: skip
    assert rows[2][-1] == "failed: Loss 'contrastive' became nan at step 3."


def test_csv_has_a_row_per_experiment_with_unrounded_numbers(comparison):
    rows = list(csv.DictReader(io.StringIO(csv_text(comparison))))

    assert [row["name"] for row in rows] == ["base", "<b>bold", "broken"]
    assert [row["status"] for row in rows] == ["done", "done", "failed"]
    assert float(rows[0]["recall@10"]) == 0.25
    assert float(rows[1]["recall@10/difference"]) == 0.5
    assert (rows[1]["recall@10/verdict"], rows[0]["recall@10/verdict"]) == ("better", "")
    assert float(rows[1]["parameters_trainable_m"]) == 2.0
    assert (rows[2]["recall@10"], rows[2]["seconds"]) == ("", "")


def test_a_collapsed_training_is_called_so_in_every_table(contestant):
    said = "collapsed: contrastive 4.158 (equal embeddings: 4.159)"
    contestants = [
        contestant("one", [0.0, 0.5], collapsed=[said]),
        contestant("two", [0.0, 0.5], [0.0, 0.5], collapsed=["", said]),
        contestant("none", [0.0, 0.5]),
    ]
    shown = Comparison(contestants, {}, 0.95, ["test"], "build/data")

    assert [row[-1] for row in budget_rows(shown)[1]] == [said, f"seed 1 {said}", "done"]
    rows = list(csv.DictReader(io.StringIO(csv_text(shown))))
    assert [(row["status"], row["collapsed"]) for row in rows] == [
        ("done", "True"),
        ("done", "True"),
        ("done", "False"),
    ]
    assert f'<td class="text worse">{said}</td>' in html_text(shown)


def test_html_is_one_page_that_refers_to_nothing(comparison, tmp_path):
    write_tables(comparison, tmp_path)

    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert page == html_text(comparison)
    assert not re.search(r"(src|href)=|url\(|@import|<script", page)
    assert "&lt;b&gt;bold" in page and "<b>bold" not in page
    assert '<td class="better">' in page
    assert "95 % bootstrap interval" in page
    assert sorted(path.name for path in tmp_path.glob("comparison*")) == [
        "comparison.csv",
        "comparison.html",
    ]
    assert not list(tmp_path.glob(".*"))
