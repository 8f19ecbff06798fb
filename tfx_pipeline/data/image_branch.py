"""The images' way through Beam: each is loaded, checked and re-encoded once.

Image bytes go straight from the store to a gallery shard, sorted by image id; the Examples
of the same shard are then a merge of that file with the pairs. No shuffle carries bytes and
no worker holds more than a few images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from tfx_pipeline.data import checks, contract, image_store, images, writers
from tfx_pipeline.data.config import ExampleGenConfig
from tfx_pipeline.data.contract import Rejected
from tfx_pipeline.data.duplicates import CONTENT_SCHEMA, DUPLICATE_SCHEMA, hash_content
from tfx_pipeline.data.images import ImageProblem
from tfx_pipeline.data.log_branch import FINAL_SCHEMA, REF_SCHEMA
from tfx_pipeline.data.stats import count, new_stats, note, reject
from tfx_pipeline.data.tables import from_bytes, shard_of, split_by_shard, to_bytes
from vl_models import features
from vl_models.errors import UserError

SINGLE_IMAGES = "train-image-only"


class ListFolder(beam.DoFn):
    """The image folder → its files by shard: (shard, [(image id, path), …])."""

    FILES, REJECTED, STATS = "files", "rejected", "stats"

    def __init__(self, config: ExampleGenConfig):
        self.config = config

    def process(self, _: None) -> Iterator[TaggedOutput]:
        """List the folder, if there is one; names that are not Unicode are rejected."""
        stats = new_stats()
        by_shard: dict[int, list[tuple[str, str]]] = {}
        try:
            if self.config.images.root is not None:
                for image_id, path in image_store.list_folder(self.config.images):
                    if (shown := contract.printable(path)) != path:
                        message = "the file's name is not valid UTF-8; rename it"
                        rejected = Rejected(shown, 0, contract.Reason.INVALID_UTF8, message, 0)
                        reject(stats, rejected)
                        count(stats, "images_rejected", 1)
                        yield TaggedOutput(self.REJECTED, rejected)
                        continue
                    shard = shard_of(image_id, self.config.shards)
                    by_shard.setdefault(shard, []).append((image_id, path))
        except UserError as error:
            stats["fatal"].append(str(error))
        for item in sorted(by_shard.items()):
            yield TaggedOutput(self.FILES, item)
        yield TaggedOutput(self.STATS, stats)


class WriteGallery(beam.DoFn):
    """References and files of one shard → its gallery file, contents, and images rejected."""

    PATHS, CONTENTS, BAD, REJECTED, STATS = "paths", "contents", "bad", "rejected", "stats"

    def __init__(self, config: ExampleGenConfig, folder: str):
        self.config = config
        self.folder = folder

    def setup(self) -> None:
        """Know nothing of the store's other files until an image is missing."""
        self.similar = image_store.SimilarFiles(self.config.images)

    def process(
        self, element: tuple[int, dict[str, Iterable[Any]]], log_stats: dict[str, Any]
    ) -> Iterator[TaggedOutput]:
        """Write the shard's images in the order of their ids."""
        if log_stats["fatal"]:  # the run fails anyway: spend no time on images
            return
        shard, groups = element
        refs = _by_image(from_bytes(groups["refs"], REF_SCHEMA))
        files = {image_id: path for part in groups["files"] for image_id, path in part}
        stats = new_stats()
        contents: dict[str, str] = {}  # image id → hash
        path = f"{self.folder}/{writers.shard_name(shard, self.config.shards)}"
        with writers.record_writer(path) as writer:
            for image_id in sorted(refs.keys() | files.keys()):
                rows = refs.get(image_id, [])
                try:
                    encoded, example = self._example(image_id, rows, files.get(image_id))
                    writer.write(example)
                    count(stats, "images", 1)
                    contents[image_id] = hash_content(encoded)
                    if checks.is_flat(encoded):
                        count(stats, "images_flat", 1)
                        note(stats, "images_flat", [image_id])
                except ImageProblem as problem:
                    rejected = _rejected(image_id, rows, files.get(image_id), problem)
                    reject(stats, rejected)
                    count(stats, "images_rejected", 1)
                    yield TaggedOutput(self.REJECTED, rejected)
                    yield TaggedOutput(self.BAD, image_id)
        yield TaggedOutput(self.STATS, stats)
        yield TaggedOutput(self.PATHS, (shard, path))
        columns = [list(contents.values()), list(contents)]
        table = pa.table(columns, schema=CONTENT_SCHEMA)
        for content_shard, part in split_by_shard(table, "content", self.config.shards):
            yield TaggedOutput(self.CONTENTS, (content_shard, to_bytes(part)))

    def _example(
        self, image_id: str, rows: list[dict[str, Any]], file: str | None
    ) -> tuple[bytes, bytes]:
        """Return the encoded image, and the Example that holds it."""
        config = self.config.images
        uri, place = _locate(rows, file, config.root)
        if place is None:
            where = f"in {config.root}" if config.root else "and its rows have no image_uri"
            message = f"image id {image_id!r} has no image file {where}"
            message += self.similar.describe(image_id)
            raise ImageProblem(contract.Reason.IMAGE_MISSING, message)
        try:
            data = images.load_bytes(place, config.max_bytes)
        except ImageProblem as problem:
            if problem.reason == contract.Reason.IMAGE_MISSING:
                problem.message += self.similar.describe(place)
            raise
        try:
            encoded = images.encode_image(data, config)
        except ImageProblem as problem:
            raise ImageProblem(problem.reason, f"{uri}: {problem}") from problem
        label_ids, label_texts = _labels(rows)
        example = writers.make_example(
            {
                features.IMAGE_ID: [image_id.encode()],
                features.IMAGE_ENCODED: [encoded],
                features.IMAGE_URI: [uri.encode()],
                features.LABEL_ID: label_ids,
                features.LABEL_TEXT: label_texts,
            }
        )
        return encoded, example.SerializeToString(deterministic=True)


def _labels(rows: list[dict[str, Any]]) -> tuple[list[int], list[bytes]]:
    """Ids and texts of an image's labels, parallel where both are given; an id below 0 is none.

    A label that only some rows give with both counts by those; where no row gives both, texts
    win over ids, which would not say whose they are.
    """
    given = {
        (-1 if row["label"] is None else row["label"], row["label_text"] or "") for row in rows
    }
    whole = sorted((label, text) for label, text in given if label >= 0 and text)
    if whole:
        return [label for label, _ in whole], [text.encode() for _, text in whole]
    texts = sorted(text.encode() for _, text in given if text)
    return ([], texts) if texts else (sorted({label for label, _ in given if label >= 0}), [])


def _by_image(refs: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """References by image id, in the order of (file, row)."""
    result: dict[str, list[dict[str, Any]]] = {}
    for row in refs.sort_by([("file", "ascending"), ("row", "ascending")]).to_pylist():
        result.setdefault(row["image_id"], []).append(row)
    return result


def _locate(
    rows: list[dict[str, Any]], file: str | None, root: str | None
) -> tuple[str, str | None]:
    """Return the URI to report and the place to read: bytes of a row, a row's URI, the folder."""
    logged = next((row for row in rows if row["spilled"]), None)
    if logged is not None:
        uri = logged["image_uri"] or f"{logged['file']}#row={logged['row']}"
        return uri, logged["spilled"]
    uri = next((row["image_uri"] for row in rows if row["image_uri"]), None)
    place = images.resolve_uri(uri, root) if uri else file
    return place or "", place


def _rejected(
    image_id: str, rows: list[dict[str, Any]], file: str | None, problem: ImageProblem
) -> Rejected:
    content: dict[str, Any] = {"image_id": image_id, "image": file}
    if rows:
        content |= {"file": rows[0]["file"], "image_uri": rows[0]["image_uri"]}
    return Rejected(
        source=rows[0]["file"] if rows else str(file),
        row=rows[0]["row"] if rows else 0,
        reason=problem.reason,
        message=f"image {image_id!r}: {problem}",
        rows=sum(row["rows"] for row in rows),
        content=contract.content_json(content),
    )


class WriteExamples(beam.DoFn):
    """Gallery file and pairs of one shard → its Example file in each split, and of images alone.

    Images alone are those that no split has a click for, so none of val or test is among them,
    nor one whose content several ids share.
    """

    def __init__(self, config: ExampleGenConfig, folder: str):
        self.config = config
        self.folder = folder

    def process(
        self, element: tuple[int, dict[str, Iterable[Any]]], duplicates: list[bytes]
    ) -> Iterator[dict[str, Any]]:
        """Merge the two; yields the stats."""
        shard, groups = element
        repeated = from_bytes(duplicates, DUPLICATE_SCHEMA)
        several = set(repeated["image_id"].to_pylist()) | set(repeated["original"].to_pylist())
        for gallery in groups["gallery"]:  # one, or none if the run has failed before
            yield self._write(shard, gallery, groups["pairs"], several)

    def _write(
        self, shard: int, gallery: str, pieces: Iterable[bytes], several: set[str]
    ) -> dict[str, Any]:
        stats = new_stats()
        pairs = from_bytes(pieces, FINAL_SCHEMA).sort_by(
            [("image_id", "ascending"), ("clicks", "descending"), ("query", "ascending")]
        )
        name = writers.shard_name(shard, self.config.shards)
        for split in features.SPLITS:
            path = f"{self.folder}/Split-{split}/{name}"
            of_split = pairs.filter(pc.equal(pairs["split"], split))
            with writers.record_writer(path) as writer:
                written = 0
                for example in self._examples(gallery, of_split):
                    writer.write(example)
                    written += 1
            count(stats, f"examples_{split}", written)
        path = f"{self.folder}/Split-{SINGLE_IMAGES}/{name}"
        others = several | set(pairs["image_id"].to_pylist())
        written = writers.write_records(path, self._single_images(gallery, others))
        count(stats, "examples_train_image_only", written)
        return stats

    def _single_images(self, gallery: str, others: set[str]) -> Iterator[bytes]:
        for record in writers.read_records(gallery):
            if _image_id(record) not in others:
                yield self._example(record, "image_only", {})

    def _examples(self, gallery: str, pairs: pa.Table) -> Iterator[bytes]:
        if not pairs.num_rows:
            return
        ids = pairs["image_id"].to_pylist()
        start = 0
        for record in writers.read_records(gallery):
            image_id = _image_id(record)
            if start >= len(ids) or ids[start] != image_id:
                continue
            end = start
            while end < len(ids) and ids[end] == image_id:
                end += 1
            own = _query_features(pairs.slice(start, end - start).to_pydict())
            yield self._example(record, self._source_type, own)
            start = end

    @property
    def _source_type(self) -> str:
        return "caption" if self.config.kind == "captions" else "click"

    def _example(self, image: Any, source_type: str, own: writers.Features) -> bytes:
        """Return the image of a gallery record with features of its own, serialised."""
        source: writers.Features = {
            features.SOURCE_TYPE: [source_type.encode()],
            features.SOURCE_NAME: [self.config.source_name.encode()],
        }
        example = writers.make_example({**own, **source})
        for name, feature in image.features.feature.items():
            if name != features.IMAGE_URI:
                example.features.feature[name].CopyFrom(feature)
        return example.SerializeToString(deterministic=True)


def _image_id(record: Any) -> str:
    return record.features.feature[features.IMAGE_ID].bytes_list.value[0].decode()


def _query_features(pairs: dict[str, list[Any]]) -> writers.Features:
    return {
        features.QUERY_TEXT: [text.encode() for text in pairs["query"]],
        features.QUERY_CLICKS: pairs["clicks"],
        features.QUERY_WEIGHT: pairs["weight"],
        features.QUERY_LANGUAGE: [text.encode() for text in pairs["language"]],
        features.QUERY_CLICKS_TOTAL: pairs["query_total"],
        features.QUERY_IMAGES: pairs["query_images"],
        features.QUERY_CORRELATION: [text.encode() for text in pairs["correlation"]],
        features.IMAGE_CLICKS_TOTAL: [sum(pairs["clicks"])],
    }
