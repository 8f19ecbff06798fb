"""Artifact types of the pipeline and the names of the files in them.

Kubeflow takes type names of this form only; `runners.kubeflow_step` finds the classes again.
"""

from tfx.types.artifact import Artifact

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
IMAGES_ROOT = "images_root"  # property of a gallery: folder or bucket that its images are in


class Gallery(Artifact):
    """Every image of the store once, as Examples (`data_tfrecord-*.gz`)."""

    TYPE_NAME = "vlsearch.Gallery"


class RelevanceTable(Artifact):
    """Known positives of every query with their split (`relevance.parquet`).

    Of logs that name sessions also in how many each was asked (`sessions.parquet`).
    """

    TYPE_NAME = "vlsearch.RelevanceTable"


class RejectedRows(Artifact):
    """Rows that could not be used, with reason and origin (`rejected-*.jsonl`)."""

    TYPE_NAME = "vlsearch.RejectedRows"


class Vocabulary(Artifact):
    """A tokeniser's vocabulary (`vocabulary.txt`, one piece a line; `merges.txt` for BPE)."""

    TYPE_NAME = "vlsearch.Vocabulary"


class Evaluation(Artifact):
    """What the evaluator found (`metrics.json`, `report.html`, per-query results)."""

    TYPE_NAME = "vlsearch.Evaluation"


class VectorIndex(Artifact):
    """The encoded gallery: FAISS index, items, and the embeddings it was built from."""

    TYPE_NAME = "vlsearch.VectorIndex"


class PushedRelease(Artifact):
    """What was released (`release.json` as written to the serving root), or why not."""

    TYPE_NAME = "vlsearch.PushedRelease"


TYPES: tuple[type[Artifact], ...] = (
    Gallery,
    RelevanceTable,
    RejectedRows,
    Vocabulary,
    Evaluation,
    VectorIndex,
    PushedRelease,
)
