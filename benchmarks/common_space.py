"""The common-space family against CCA and two classifiers, on labelled features made here.

Classes in a latent space, each of a few clusters, seen through one linear map, a rotation and
noise by each modality; or, with --kind topics, classes that are hard to tell from images: counts of
128 visual words, and shares of 10 topics for the texts. For each seed every system is trained with
its configuration and measured on the test split: mAP over the whole ranking, mean of both
directions, and how well a classifier tells the modalities apart. With --data the same on a data
folder of features, once.

python benchmarks/common_space.py [--seeds 5] [--kind clusters|topics] [--clusters 3]
                                  [--systems acmr,ucal,…] [--bits 16,32] [--data DIR] [--json FILE]
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from _shared import Results, argument_parser

ROWS, TRAIN, VAL, CLASSES, LATENT = 2866, 2173, 231, 10, 16
WIDTHS = (128, 32)  # of the image and the text features
SYSTEMS = ("ucal", "acmr", "dscmr", "ssah", "tfnh")
SUPERVISED = ("acmr", "dscmr", "ssah", "tfnh")
HASHING = ("ssah", "tfnh")
# Changes of a system that are measured beside it.
BY_VECTOR, ALONE = "model.search_by=vector", "model.tasks=[{kind: label_classifier}]"
VARIANTS = {
    "acmr": {
        "without adversary": (ALONE,),
        "by code": (BY_VECTOR,),
        "by code without adversary": (BY_VECTOR, ALONE),
    },
    "ucal": {"without adversary": ("model.tasks=[{kind: pair_margin, margin: 1.0}]",)},
}
REPOSITORY = Path(__file__).resolve().parents[1]


def make_features(seed, clusters):
    """Arrays as `vlsearch data features` takes them."""
    generator = np.random.default_rng(seed)
    centres = 1.5 * generator.normal(size=(CLASSES, clusters, LATENT))
    label = generator.integers(CLASSES, size=ROWS)
    latent = centres[label, generator.integers(clusters, size=ROWS)]
    latent += generator.normal(size=(ROWS, LATENT))
    rotation, _ = np.linalg.qr(generator.normal(size=(LATENT, LATENT)))
    seen = (latent, latent @ rotation + 0.6 * generator.normal(size=(ROWS, LATENT)))
    image, text = (
        view @ generator.normal(size=(LATENT, width)) / LATENT**0.5
        + noise * generator.normal(size=(ROWS, width))
        for view, width, noise in zip(seen, WIDTHS, (1.0, 0.5))
    )
    return {"image": image, "text": text, "label": label, "split": _split()}


def make_topics(seed):
    """Likewise: about a third of the images' classes can be told, and four fifths of the texts'."""
    generator = np.random.default_rng(seed)
    label = generator.integers(CLASSES, size=ROWS)
    alike = generator.dirichlet(np.full(CLASSES, 0.3), size=CLASSES)  # classes have common topics
    topics = 4.0 * (0.6 * alike + 0.4 * np.eye(CLASSES)) + 0.1
    text = np.stack([generator.dirichlet(topics[row]) for row in label])
    own, common = (
        generator.dirichlet(np.full(128, 2.0), size=CLASSES),
        generator.dirichlet(np.full(128, 2.0)),
    )
    words = 0.88 * common + 0.12 * own
    image = np.stack([generator.dirichlet(150.0 * words[row]) for row in label])
    return {"image": image, "text": text, "label": label, "split": _split()}


def _split():
    return np.repeat(["train", "val", "test"], [TRAIN, VAL, ROWS - TRAIN - VAL])


def make_folder(seed, arguments, folder):
    """The arrays as a data folder."""
    from tfx_pipeline.data.feature_set import FILE_NAME, read_feature_set
    from tfx_pipeline.data.folder import DataFolder

    topics = arguments.kind == "topics"
    arrays = make_topics(seed) if topics else make_features(seed, arguments.clusters)
    np.savez(folder / f"{seed}.npz", **arrays)
    data = folder / f"data-{seed}"
    data.mkdir()
    keys = {key: key for key in arrays}
    read_feature_set([folder / f"{seed}.npz"], **keys).save(data / FILE_NAME)
    DataFolder(kind="features", name="made", images=None, features=FILE_NAME).save(data)
    return data


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def class_map(image, text, label):
    """mAP@all of both directions' mean, by cosine."""
    from vl_models.metrics.class_retrieval import class_retrieval, cosine_similarity

    image, text = unit(image), unit(text)
    return np.mean(
        [
            class_retrieval(cosine_similarity(a, b), label, label).mean_average_precision()
            for a, b in ((image, text), (text, image))
        ]
    )


def baselines(data):
    """mAP of CCA and of the cosine of two classifiers' posteriors, and of the features themselves.

    They learn from train and val, since they have nothing to choose by val.
    """
    from sklearn.cross_decomposition import CCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from tfx_pipeline.data.feature_set import FeatureSet
    from tfx_pipeline.data.folder import DataFolder
    from tfx_pipeline.evaluation.separability import modality_classifier_accuracy

    rows = FeatureSet.load(DataFolder.load(data).feature_file)
    test = rows.split == "test"
    found = {}
    if rows.image.shape[1] == rows.text.shape[1]:
        found["features themselves mAP"] = class_map(
            rows.image[test], rows.text[test], rows.label[test]
        )
        found["features themselves modality accuracy"] = modality_classifier_accuracy(
            unit(rows.image[test]), unit(rows.text[test]), 0
        )
    sides = [StandardScaler().fit(side[~test]).transform(side) for side in (rows.image, rows.text)]
    first = rows.label.argmax(axis=1)
    posteriors = [
        LogisticRegression(max_iter=1000).fit(side[~test], first[~test]).predict_proba(side[test])
        for side in sides
    ]
    components = min(*(side.shape[1] for side in sides), 20)
    cca = CCA(components, max_iter=2000).fit(*(side[~test] for side in sides))
    found["cca mAP"] = class_map(*cca.transform(*(side[test] for side in sides)), rows.label[test])
    found["two classifiers mAP"] = class_map(*posteriors, rows.label[test])
    return found


def train(system, data, run, overrides=()):
    """Metrics of one system on the test split."""
    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.training_run import TrainingRun

    config = ExperimentConfig.load(
        REPOSITORY / "configs" / f"{system}.yaml",
        [f"data.folder={json.dumps(str(data))}", "evaluate.splits=[test]", *overrides],
    )
    training = TrainingRun(run)
    training.prepare(config)
    training.train(config)
    training.evaluate(config, run / "evaluation", release=None)
    return json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))


class Told(dict):
    """Numbers that are printed as they come, because a data set takes minutes."""

    def __init__(self, data):
        super().__init__()
        self._data = data

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        print(f"{self._data}  {name:<40} {value:.4f}", flush=True)

    def update(self, values):
        for name, value in values.items():
            self[name] = value


def one_data_set(data, systems, bits, folder):
    """Every number of one data set by name."""
    found = Told(data.name)
    found.update(baselines(data))

    def add(name, system, overrides=()):
        run = folder / f"{data.name}-{name.replace(' ', '-')}"
        metrics = train(system, data, run, overrides)
        found[f"{name} mAP"] = metrics["map@all/mean"]
        if "float/map@all/mean" in metrics:
            found[f"{name} mAP before signs"] = metrics["float/map@all/mean"]
        found[f"{name} modality accuracy"] = metrics["modality_classifier/accuracy"]

    for system in systems:
        add(system, system)
        for variant, overrides in VARIANTS.get(system, {}).items():
            add(f"{system} {variant}", system, overrides)
        for count in bits if system in HASHING else ():
            add(f"{system} {count} bits", system, [f"model.embedding_dim={count}"])
    return found


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--kind", choices=("clusters", "topics"), default="clusters")
    parser.add_argument("--clusters", type=int, default=3, help="of each class")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--bits", default="", help="other lengths of codes than 64")
    parser.add_argument("--data", type=Path, help="data folder of features, in place of seeds")
    parser.add_argument("--output", type=Path, help="keep the run folders there")
    arguments = parser.parse_args()
    systems = arguments.systems.split(",")
    bits = [int(count) for count in arguments.bits.split(",") if count]
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for seed in [None] if arguments.data else seeds:
            data = arguments.data or make_folder(seed, arguments, Path(temporary))
            for name, value in one_data_set(data, systems, bits, folder).items():
                found.setdefault(name, []).append(value)
    results = Results()
    best = max(np.mean(found["cca mAP"]), np.mean(found["two classifiers mAP"]))
    for name, values in found.items():
        bar, passed = "", None
        if name.removesuffix(" mAP") in SUPERVISED:
            bar, passed = f"> {best:.3f}", bool(np.mean(values) > best)
        results.add(name, f"{np.mean(values):.3f} ± {np.std(values):.3f}", bar, passed, all=values)
    results.finish(arguments)


if __name__ == "__main__":
    main()
