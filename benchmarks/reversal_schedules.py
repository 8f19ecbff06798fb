"""Schedules of gradient reversal on live towers: how far apart the modalities are, what is found.

The demo's emoji and configuration, with a modality adversary of each schedule and without one.
While training goes on, every row of the val split is encoded: R@10 of its pairs among the val
images (other known clicks taken out), and the accuracy of a logistic regression that is fitted anew
to tell images from texts (one half: it cannot).

    python benchmarks/reversal_schedules.py [--schedules none,constant,dann,dgrl] [--weight 0.1]
                                            [--momentum 0.5] [--steps 1500] [--every 250]
                                            [--seeds 1] [--output DIR] [--json FILE]
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from _shared import Results, argument_parser

REPOSITORY = Path(__file__).resolve().parents[1]
# λ rises over the first third of the rows that the towers see, whatever the number of steps.
RISE = 1 / 3
NONE = "none"


class Curve:
    """A trainer's hook that keeps what it measures on one batch of the whole val split."""

    def __init__(self, source):
        from vl_models.input.records import START
        from vl_models.input.source import Feed

        rows = source.steps_per_epoch(1)
        self._batch, _ = next(source.open(Feed(batch_size=rows, seed=1), START))
        self.points = []

    def __call__(self, step, model):
        from tfx_pipeline.evaluation.separability import modality_classifier_accuracy
        from vl_models.losses.positives import PairHashes, known_positives, own_pairs
        from vl_models.metrics.in_batch import in_batch_recall

        batch = self._batch
        images, texts = model.encode_image(batch).numpy(), model.encode_text(batch).numpy()
        keys = PairHashes.of_batch(batch, len(images), len(texts))
        own, known = own_pairs(keys, keys).numpy(), known_positives(keys, keys).numpy()
        recall = in_batch_recall(images @ texts.T, own, known, k=10)["recall@10"]
        accuracy = modality_classifier_accuracy(images, texts, seed=0)
        self.points.append((step, float(recall), accuracy))
        print(f"    step {step:>5}  R@10 {recall:.3f}  modality {accuracy:.3f}", flush=True)
        return {"recall@10": float(recall), "modality_classifier/accuracy": accuracy}


def tasks(schedule, weight, rows):
    """The value of ``model.tasks``."""
    if schedule == NONE:
        return "[]"
    scale = f", instances: {round(RISE * rows)}" if schedule == "dgrl" else ""
    reversal = f"{{kind: {schedule}{scale}}}"
    return f"[{{kind: modality_adversary, weight: {weight}, reversal: {reversal}}}]"


def train(data, run, schedule, arguments, seed):
    """Points (step, R@10, accuracy) of one training."""
    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.training.setup import prepare_training
    from tfx_pipeline.training.sources import validation_source
    from tfx_pipeline.training_run import TrainingRun

    config = ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", [f"data.folder={data}"])
    rows = arguments.steps * config.train.global_batch_size
    adversary = f"model.tasks={tasks(schedule, arguments.weight, rows)}"
    config = ExperimentConfig.load(
        REPOSITORY / "configs" / "emoji.yaml",
        [
            f"data.folder={data}",
            f"train.steps={arguments.steps}",
            f"train.seed={seed}",
            f"train.hooks=[{{name: curve, every: {arguments.every}}}]",
            adversary,
            f"train.betas=[{arguments.momentum}, 0.98]",
        ],
    )
    prepared = TrainingRun(run, data.parent / "prepared")
    prepared.prepare(config)
    examples = prepared.data / "examples"
    setup = prepare_training(config, examples, run)
    curve = Curve(validation_source(config.input, setup.facts, examples, setup.tokenizer.tokenize))
    dataclasses.replace(setup, hooks={"curve": curve}).trainer(run / "training").fit()
    return curve.points


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--schedules", default="none,constant,dann,dgrl")
    parser.add_argument("--weight", type=float, default=0.1, help="of the adversary")
    parser.add_argument("--momentum", type=float, default=0.5, help="of the optimiser")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="keep data and run folders there")
    arguments = parser.parse_args()
    results = Results()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / "data"
        if not data.exists():
            from tfx_pipeline.data.emoji import write_emoji

            write_emoji(data)
        for schedule in arguments.schedules.split(","):
            curves = []
            for seed in range(arguments.seeds):
                print(f"  {schedule}, seed {seed}", flush=True)
                run = folder / f"{schedule}-{arguments.weight}-{arguments.momentum}-{seed}"
                curves.append(train(data, run, schedule, arguments, seed))
            for at in range(len(curves[0])):
                step = curves[0][at][0]
                recall, accuracy = np.mean([curve[at][1:] for curve in curves], axis=0)
                value = f"R@10 {recall:.3f}, modality {accuracy:.3f}"
                points = [curve[at] for curve in curves]
                results.add(f"{schedule}, step {step}", value, points=points)
    results.finish(arguments)


if __name__ == "__main__":
    main()
