"""Every Beam graph of the project, to be built on any pipeline; and the package alone."""

from pathlib import Path

from tfx_pipeline.data.config import ExampleGenConfig, ImageConfig, PropensityConfig
from tfx_pipeline.data.examples import OutputDirs, build_examples
from tfx_pipeline.data.question_examples import WriteQuestions, build_question_examples
from tfx_pipeline.data.word_counts import count_words
from tfx_pipeline.release.gallery_embeddings import TokenReader, encode_gallery

REPOSITORY = Path(__file__).resolve().parents[2]


def examples(pipeline, folder):
    """With estimated propensities: the largest of ClickExampleGen's graphs."""
    config = ExampleGenConfig(
        images=ImageConfig(root=f"{folder}/images"),
        propensity=PropensityConfig(mode="estimated"),
    )
    names = ("examples", "gallery", "relevance", "rejected")
    dirs = OutputDirs(*(f"{folder}/{name}" for name in names))
    build_examples(pipeline, config, [f"{folder}/log.parquet"], dirs)


def words(pipeline, folder):
    count_words(pipeline, f"{folder}/*.gz", folder, ["a picture of {}"])


def index(pipeline, folder):
    reader = TokenReader(f"{folder}/reranker", f"{folder}/tokens")
    encode_gallery(pipeline, str(folder), f"{folder}/image_tower", f"{folder}/out", 64, reader)


def questions(pipeline, folder):
    config = ImageConfig(root=f"{folder}/images")
    write = WriteQuestions(config, "any", [f"{folder}/questions.parquet"], f"{folder}/examples", 8)
    build_question_examples(pipeline, write, f"{folder}/rejected")


GRAPHS = {"examples": examples, "words": words, "index": index, "questions": questions}


def folder_for_graphs(folder):
    """Beam wants to see the files that a graph reads when the graph is built."""
    folder.mkdir(exist_ok=True)
    (folder / "data_tfrecord-00000-of-00001.gz").touch()
    return folder


def package_alone(folder):
    """A folder for PYTHONPATH that holds what the installed package holds, and no tests."""
    folder.mkdir()
    for name in ("serving", "tfx_pipeline", "vl_models"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder
