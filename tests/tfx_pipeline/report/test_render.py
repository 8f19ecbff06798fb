import dataclasses
import html.parser
import re

import numpy as np
import pytest

from tfx_pipeline.evaluation.result import (
    Attention,
    AttentionMap,
    AttentionStrip,
    EmbeddingSample,
    JudgedHit,
    Space,
)
from tfx_pipeline.evaluation.retrieval import query_sections
from tfx_pipeline.evaluation.zero_shot import ZeroShotSetup, zero_shot_table
from tfx_pipeline.report.facts import ReportFacts
from tfx_pipeline.report.render import render_report
from vl_models.metrics.bootstrap import Interval
from vl_models.training.ending import Ending, EndingLoss


class Page(html.parser.HTMLParser):
    """Every attribute, every tag and the visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.tags, self.unclosed, self.words = [], [], [], []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("meta", "img", "br", "link"):
            self.unclosed.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.unclosed.pop() == tag

    def handle_data(self, data):
        if not self.unclosed or self.unclosed[-1] != "style":
            self.words.append(data)


@pytest.fixture
def render(tmp_path):
    def run(evaluation, history=None, config_yaml="", facts=None):
        path = tmp_path / "report.html"
        render_report(evaluation, history, config_yaml, facts, path)
        assert [file.name for file in tmp_path.iterdir() if file.suffix == ".tmp"] == []
        return path.read_text(encoding="utf-8")

    return run


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.jsonl"
    lines = [
        f'{{"step": {step}, "loss/itc": {1 / (step + 1)}, "learning_rate/adamw": 0.1}}'
        for step in range(30)
    ]
    path.write_text("\n".join([*lines, '{"step": 30, "lo']), encoding="utf-8")
    return path


def test_page_needs_nothing_from_outside(evaluation, render, history):
    text = render(evaluation, history, "a: 1", ReportFacts(run={"link": "https://example.org/x"}))
    page = Page(text)
    assert page.unclosed == []
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert value.startswith(("data:image/jpeg;base64,", "#")), (name, value)
    assert "@import" not in text
    assert re.findall(r"url\(\s*[^#\s]", text) == []


def test_queries_are_escaped(evaluation, render):
    text = render(evaluation)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; 红裙子" in text


def test_facts_and_configuration_are_escaped(evaluation, render):
    facts = ReportFacts("<i>T</i>", {"<i>n</i>": "<i>v</i>"}, {"d": "<i>v</i>"}, {"<i>r</i>": 1})
    assert "<i>" not in render(evaluation, None, "key: <i>v</i>", facts)


def test_verdict_and_numbers(evaluation, render):
    page = Page(render(evaluation))
    assert "Not blessed" in page.text
    assert "recall@10 is 0.4000, below the minimum of 0.5000." in page.text
    assert "0.350 – 0.450" in page.text
    assert "−0.050" in page.text  # recall@10 against the current release
    assert "1,234.5 −65.5" in page.text
    assert "3 queries, 4 clicked pairs, 20,000 gallery images" in page.text
    assert "2 evaluated pairs are left out" in page.text
    assert "second query" in page.text and "rank 1,200" in page.text
    assert "-0.250 · wanted" in page.text


def test_blessed(evaluation, render):
    blessed = dataclasses.replace(evaluation.blessing, blessed=True, reasons=("Fine.",))
    text = render(dataclasses.replace(evaluation, blessing=blessed))
    assert "verdict yes" in text and "verdict no" not in text


def test_data_facts(evaluation, render):
    facts = ReportFacts(data={"train pairs": 8000}, rejected={"few": 2, "many": 1234})
    page = Page(render(evaluation, facts=facts))
    assert "train pairs 8000" in page.text
    assert page.text.index("many 1,234") < page.text.index("few 2")
    assert "Rejected rows" not in render(evaluation)


def test_history_is_optional(evaluation, render, history, tmp_path):
    assert "<h2>Training</h2>" not in render(evaluation)
    assert "<h2>Training</h2>" not in render(evaluation, tmp_path / "missing.jsonl")
    text = render(evaluation, history)
    assert "<h2>Training</h2>" in text and ">itc</text>" in text
    assert "1 unreadable line(s)" in text


def test_a_collapsed_training_is_said(evaluation, render, history):
    healthy = Ending(30, {"itc": EndingLoss(1.0, 4.1589)})
    healthy.write(history.parent)
    assert "collapsed" not in render(evaluation, history)
    Ending(30, {"itc": EndingLoss(4.158, 4.1589)}).write(history.parent)
    page = Page(render(evaluation, history))
    assert (
        "The training collapsed It ended collapsed: itc 4.158 (equal embeddings: 4.159): the model "
        "learnt to tell nothing apart. Train anew with a longer warm-up (train.warmup_steps) or a "
        "smaller train.learning_rate."
    ) in page.text


def test_undecodable_image_leaves_a_blank(evaluation, render):
    text = render(evaluation)
    assert text.count("no picture") == 2  # in an example and in a failure
    assert text.count('src="data:image/jpeg;base64,') == 6


def test_ids_are_unique(evaluation, render, history):
    ids = [value for name, value in Page(render(evaluation, history)).attributes if name == "id"]
    assert ids and len(set(ids)) == len(ids)


def test_same_input_same_page(evaluation, render, history):
    assert render(evaluation, history, "a: 1") == render(evaluation, history, "a: 1")


def test_largest_report_stays_below_three_megabytes(evaluation, render):
    shown = evaluation.section("Example queries")
    example = shown.examples[0]
    noise = shown.thumbnails["a"]  # the worst to compress
    hits = [
        tuple(dataclasses.replace(example.hits[0], image_id=f"{row}-{n}") for n in range(8))
        for row in range(32)
    ]
    examples = tuple(
        dataclasses.replace(example, hits=shown, wanted=JudgedHit(f"wanted-{row}", 0.1, "correct"))
        for row, shown in enumerate(hits)
    )
    thumbnails = {hit.image_id: noise for one in examples for hit in one.shown}
    points = np.random.default_rng(0).normal(size=(1000, 8))
    labels = tuple(f"label {row % 40}" for row in range(1000))
    strips = [AttentionStrip(f"source {n}", ("token",) * 64, (0.01,) * 64) for n in range(4)]
    attention = AttentionMap("a query", "en", tuple(strips))
    largest = dataclasses.replace(
        evaluation,
        sections=(
            *(section for section in evaluation.sections if not section.pictures),
            Space("Embedding space", EmbeddingSample(points, points, labels, labels)),
            Attention("Attention by text prefix", (attention,) * 6),
            *query_sections(examples[:16], examples[16:], thumbnails),
        ),
    )
    assert len(render(largest).encode()) < 3_000_000


def test_zero_shot_table(evaluation, render, with_section):
    assert "Zero-shot" not in render(evaluation)
    names = (
        "zero_shot/accuracy@1",
        "zero_shot/precision@10/text_to_image",
        "zero_shot/map@all/text_to_image",
    )
    metrics = {f"{part}{name}": 0.5 for part in ("", "prefix=labels/") for name in names}
    metrics["prefix=labels/zero_shot/accuracy@1"] = 0.75
    setup = ZeroShotSetup(("a", "b"), ("{}",), None, ("labels",), (1,))
    found = dataclasses.replace(
        with_section(evaluation, zero_shot_table(setup, 1234, evaluation.config)),
        metrics={**evaluation.metrics, **metrics},
        intervals={"zero_shot/accuracy@1": Interval(0.4, 0.6)},
        baseline={"zero_shot/accuracy@1": 0.45},
        headline=(*evaluation.headline, "zero_shot/accuracy@1"),
    )
    page = Page(render(found))
    assert (
        "classes encoded with accuracy@1 precision@10, text to image map@all, text to image"
        in page.text
    )
    assert "exported classifier 0.500 +0.050 0.400 – 0.600" in page.text
    assert "prefix=labels 0.750" in page.text
    assert "1,234 gallery images that have a label, training images included." in page.text
    # The headline shows the accuracy, too.
    assert page.text.index("zero_shot/accuracy@1") < page.text.index("Zero-shot classification")


def test_attention_strips(evaluation, render, with_section):
    strips = (
        AttentionStrip("captions", ("[captions]", "<b>", "猫"), (0.5, 0.25, 0.25)),
        AttentionStrip("labels", ("[labels]", "<b>", "猫"), (0.0, 0.0, 0.0)),
    )
    section = Attention("Attention by text prefix", (AttentionMap("<b>猫", "zh", strips),))
    text = render(with_section(evaluation, section))
    heats = re.findall(r'--heat: (\d+)%" title="([\d.]+)">([^<]*)<', text)
    assert heats == [
        ("50", "0.500", "[captions]"),
        ("25", "0.250", "&lt;b&gt;"),
        ("25", "0.250", "猫"),
        ("0", "0.000", "[labels]"),
        ("0", "0.000", "&lt;b&gt;"),
        ("0", "0.000", "猫"),
    ]
    assert "Attention by text prefix" not in render(evaluation)
    assert "<b>" not in text and Page(text).unclosed == []


def test_labels_of_the_space(evaluation, render, with_section):
    space = evaluation.section("Embedding space")
    sample = dataclasses.replace(
        space.sample, image_labels=("<i>狗</i>",) * 30, text_labels=("",) * 20
    )
    text = render(with_section(evaluation, dataclasses.replace(space, sample=sample)))
    assert "&lt;i&gt;狗&lt;/i&gt;</text>" in text
    assert "Colours: labels" in Page(text).text
    assert "Colours: labels" not in Page(render(evaluation)).text
