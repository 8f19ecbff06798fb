"""Strong or weak correlation of a query with visible content, from its click distribution.

The clicks of a concrete query ("birthday cake") fall on a few images, or on many that show the
same; those of an abstract one ("happy birthday") scatter. With c_i of a query's n clicks on image
i and n_k of them on class k, the score is the mean of two numbers in [0, 1]:

- concentration, exp(-H) for the click entropy H = -sum_i c_i/n ln(c_i/n) (Dou, Song & Wen 2007,
  "A Large-scale Evaluation and Analysis of Personalized Search Strategies"): one by the effective
  number of images, which unlike H / ln n does not depend on how popular the query is;
- agreement, sum_k n_k (n_k - 1) / (n (n - 1)): the unbiased estimate of the probability that two
  independent clicks agree (Simpson 1949, "Measurement of Diversity"). They agree if they are on
  one image, or on two images of the same label: a class is a label, or an image without label.

A query is weak if it has enough clicks and a score below the threshold. Entropy is estimated too
low from few clicks, which errs on the side of strong; so does every query with too few clicks.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data.config import CorrelationConfig
from tfx_pipeline.data.stats import Stats, count
from vl_models.features import SPLITS

STRONG, WEAK = "strong", "weak"
COLUMNS = (
    pa.field("correlation", pa.string()),
    pa.field("correlation_score", pa.float32()),
)


def image_labels(label: pa.ChunkedArray, label_text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the label of each row as text: the number, else the text, else null; string[n]."""
    return pc.coalesce(label.cast(pa.string()), label_text)


def add_correlation(pairs: pa.Table, config: CorrelationConfig, stats: Stats) -> pa.Table:
    """Score every query, and replace `image_label` by the columns of `COLUMNS`.

    A query has one value in all splits. The clicks of the train split decide, and others only
    where a query has none there: nothing that is trained on depends on held-out clicks.

    Args:
        pairs: query, image_id, image_label (or null), clicks, split; all rows of each query, one
            per (query, image), sorted by query.
        config: threshold and minimum of clicks, or a fixed value.
        stats: gets the numbers of strong and of weak queries, and of those with too few clicks.

    Returns:
        The same rows; the score is null where the clicks are too few or the value is fixed.
    """
    query = pairs["query"].combine_chunks().dictionary_encode()
    query_index, queries = query.indices.to_numpy(), len(query.dictionary)
    if config.mode == "estimated":
        scores, enough = _scores(pairs, query_index, queries, config.min_clicks)
        weak = enough & (scores < config.threshold)
        count(stats, "queries_with_few_clicks", int(queries - enough.sum()))
    else:
        scores, enough = np.zeros(queries), np.zeros(queries, bool)
        weak = np.full(queries, config.mode == WEAK)
    count(stats, "queries_strong", int(queries - weak.sum()))
    count(stats, "queries_weak", int(weak.sum()))
    values = pa.array([STRONG, WEAK]).take(pa.array(weak[query_index].astype(np.int8)))
    score = pa.array(scores[query_index], pa.float32(), mask=~enough[query_index])
    pairs = pairs.drop_columns(["image_label"])
    for field, column in zip(COLUMNS, (values, score), strict=True):
        pairs = pairs.append_column(field, column)
    return pairs


def _scores(
    pairs: pa.Table, query_index: np.ndarray, queries: int, min_clicks: int
) -> tuple[np.ndarray, np.ndarray]:
    """Score of each query, float64[queries] in [0, 1], and whether its clicks are enough."""
    train = np.asarray(pc.equal(pairs["split"], SPLITS[0]))
    trained = np.bincount(query_index[train], minlength=queries) > 0
    kept = train | ~trained[query_index]
    pairs, query_index = pairs.filter(pa.array(kept)), query_index[kept]
    clicks = pairs["clicks"].to_numpy().astype(np.float64)
    total = np.bincount(query_index, clicks, minlength=queries)
    share = clicks / total[query_index]
    entropy = np.bincount(query_index, -share * np.log(share), minlength=queries)

    # A class never spans two queries here: its number is that of (query, class).
    classes = pc.coalesce(
        pc.binary_join_element_wise(pa.scalar("label"), pairs["image_label"], "\0"),
        pc.binary_join_element_wise(pa.scalar("image"), pairs["image_id"], "\0"),
    )
    of_class = classes.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    _, first, number = np.unique(
        query_index * (of_class.max(initial=0) + 1) + of_class,
        return_index=True,
        return_inverse=True,
    )
    n = np.bincount(number, clicks)
    agreeing = np.bincount(query_index[first], n * (n - 1), minlength=queries)
    agreement = agreeing / np.maximum(total * (total - 1), 1)
    return (np.exp(-entropy) + agreement) / 2, total >= min_clicks
