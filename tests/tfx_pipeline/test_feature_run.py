"""The common-space systems by the commands of a user: features in, towers and metrics out."""

import json

import numpy as np
import pytest

from tests.tfx_pipeline.conftest import vlsearch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    generator = np.random.default_rng(0)
    label = np.arange(240) % 4
    centres = 3.0 * generator.normal(size=(4, 6))
    latent = centres[label] + generator.normal(size=(240, 6))
    views = [latent @ generator.normal(size=(6, width)) for width in (12, 7)]
    split = np.array(["train", "train", "train", "train", "val", "test"])[np.arange(240) // 4 % 6]
    np.savez(folder / "set.npz", i=views[0], t=views[1], y=label, s=split)
    keys = ["--image", "i", "--text", "t", "--label", "y", "--split", "s"]
    told = vlsearch("data", "features", str(folder / "set.npz"), *keys, str(folder / "data"))
    assert "240 rows (160 train, 40 val, 40 test), images of 12 numbers" in told.stdout
    return folder / "data"


@pytest.mark.parametrize("system", ["acmr", "ucal", "dscmr", "ssah", "tfnh"])
def test_a_system_learns_the_classes(system, data, tmp_path):
    run = tmp_path / "run"
    small = ["train.global_batch_size=32", "train.learning_rate=1.0e-3", "train.log_every=10"]
    small += ["train.hooks=[{name: validation, every: 20}]"]
    if system != "ssah":  # which has stages of its own
        small += ["train.epochs=40"]
    overrides = [part for setting in small for part in ("--set", setting)]
    vlsearch(
        "train", "--config", f"configs/{system}.yaml", "--data", str(data), "--output", str(run),
        *overrides,
    )  # fmt: skip

    told = vlsearch(
        "evaluate", str(run), "--data", str(data), "--split", "test",
        "--json", str(tmp_path / "metrics.json"),
    )  # fmt: skip

    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["map@all/mean"] > 0.6  # four classes: 0.25 by chance
    assert f"map@all/mean                 {metrics['map@all/mean']:.4f}" in told.stdout
    exported = sorted(path.name for path in (run / "towers").iterdir())
    assert exported == ["image_tower", "text_tower", "weights"]
    if system == "acmr":
        wrong = vlsearch(
            "train", "--config", "configs/emoji.yaml", "--data", str(data), "--output",
            str(tmp_path / "other"), check=False,
        )  # fmt: skip
        assert wrong.returncode == 2
        assert "kind is features, but the towers of this experiment read" in wrong.stderr
