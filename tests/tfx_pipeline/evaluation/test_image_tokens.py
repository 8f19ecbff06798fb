import numpy as np
import pytest
import tensorflow as tf
import yaml

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.write import write_evaluation
from vl_models.errors import UserError

# What the tokeniser makes of them: the red channel in steps of 64, on a grid of 1 × 2.
COLORS = {"a": (0, 0, 0), "b": (64, 64, 64), "c": (128, 128, 128), "d": (138, 128, 128)}


def save_tokenizer(path, codes=8):
    class Tokenizer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def tokenize(self, image_bytes):
            red = self.reconstruct(image_bytes)["image"][:, 0, 0, 0]
            code = tf.cast(red, tf.int32) // 64
            return {"tokens": tf.stack([code, code], axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def reconstruct(self, image_bytes):
            image = tf.map_fn(
                lambda encoded: tf.ensure_shape(tf.io.decode_png(encoded, 3), [4, 6, 3]),
                image_bytes,
                fn_output_signature=tf.TensorSpec([4, 6, 3], tf.uint8),
            )
            return {"image": image, "reconstruction": image // 64 * 64}

    module = Tokenizer()
    signatures = {"tokenize": module.tokenize, "reconstruct": module.reconstruct}
    tf.saved_model.save(module, str(path), signatures=signatures)
    (path / "assets.extra").mkdir()
    experiment = yaml.safe_dump({"model": {"codebook": {"size": codes}}})
    (path / "assets.extra/experiment.yaml").write_text(experiment, encoding="utf-8")


@pytest.fixture(scope="module")
def paths(tmp_path_factory, make):
    root = tmp_path_factory.mktemp("tokens")
    save_tokenizer(root / "tokenizer")
    make.gallery(root / "gallery", {name: make.png(color) for name, color in COLORS.items()})
    clicks = [("red", "d", 1, 1.0, "test", "en"), ("red", "a", 1, 1.0, "train", "en")]
    make.relevance(root / "relevance.parquet", clicks)
    return root


def run(paths, relevance=None, **changes):
    config = EvaluationConfig(bootstrap={"samples": 20}, batch_size=3, **changes)
    members = {"image_tokenizer": paths / "tokenizer"}
    return evaluate(members, config, gallery_dir=paths / "gallery", relevance_path=relevance)


def test_errors_and_use_of_the_codes(paths):
    found = run(paths, report={"queries": 3, "failures": 1})
    # Of image "d" one channel of three is off by 10.
    error = (10 / 255) ** 2 / 3
    psnr = (3 * 99 - 10 * np.log10(error)) / 4
    assert found.metrics == {
        "reconstruction_mse": pytest.approx(error / 4),
        "reconstruction_psnr": pytest.approx(psnr),
        # Codes 0, 1, 2, 2: entropy 1.5 ln 2.
        "code_perplexity": pytest.approx(2**1.5),
        "used_codes": 3 / 8,
    }
    assert found.counts == {"tokenized_images": 4, "codes": 8}
    assert found.per_query["key"].to_pylist() == ["a", "c", "b", "d"]
    low, high = found.intervals["reconstruction_mse"]
    assert low <= error / 4 <= high
    [worst] = found.section("Worst reconstructions").images
    assert worst.image_id == "d" and worst.psnr == pytest.approx(-10 * np.log10(error))
    pixels = tf.io.decode_png(worst.reconstruction).numpy()
    np.testing.assert_array_equal(pixels, np.full((4, 6, 3), 128))
    shown = [image.image_id for image in found.section("Reconstructions").images]
    assert len(set(shown)) == 3
    again = run(paths, report={"queries": 3}).section("Reconstructions").images
    assert [image.image_id for image in again] == shown


def test_images_of_the_evaluated_splits_alone(paths):
    found = run(paths, paths / "relevance.parquet", gallery="split")
    assert found.per_query["key"].to_pylist() == ["d"]


def test_the_report_shows_originals_beside_reconstructions(paths, tmp_path):
    write_evaluation(run(paths), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>Reconstructions</h2>" in page and "99.0 dB" in page
    assert page.count('<img src="data:image/jpeg') == 2 * (4 + 4)


def test_a_lower_error_is_better(paths):
    found = run(
        paths,
        thresholds={"reconstruction_mse": {"max": 0.1}, "reconstruction_psnr": {"min": 200.0}},
    )
    assert not found.blessing.blessed
    assert found.blessing.reasons[0].startswith("reconstruction_psnr is 8")


def test_without_a_tokeniser_it_does_not_fit(paths):
    config = EvaluationConfig(evaluators=["image_tokens"])
    with pytest.raises(UserError, match="image_tokens needs an image_tokenizer with reconstruct"):
        evaluate({"image_tower": paths}, config, gallery_dir=paths / "gallery")
