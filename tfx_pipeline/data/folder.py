"""Data folders: what `vlsearch data …` writes and `--data DIR` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from serving.files import write_atomically
from tfx_pipeline.data.config import (
    CorrelationConfig,
    CsvConfig,
    ExampleGenConfig,
    ImageConfig,
    LogFormat,
    PropensityConfig,
    SplitConfig,
)
from tfx_pipeline.data.spans import ResolvedInput, resolve_spans
from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.storage.listing import list_files
from tfx_pipeline.storage.uris import check_place, is_uri, join
from vl_models.errors import UserError
from vl_models.strict_config import explain_validation_error

FILE_NAME = "data.yaml"


class DataFolder(BaseModel):
    """The contents of data.yaml; paths are relative to its folder unless absolute.

    Attributes:
        version: of this form; 1.
        kind: `clicks`, `captions`, `answers` (questions about images), or `features` (precomputed
            vectors; no images).
        name: of the data set; becomes `source/name`.
        log: a file, a folder, or a pattern of them, see `tfx_pipeline.data.spans.resolve_spans`.
        format: of the log files.
        csv: how CSV logs are written, where it is not recognised.
        images: image folder; null if rows carry absolute `image_uri` or `image_bytes`.
        texts: a file, a folder, or a pattern of them: texts that go with no image, one a line.
        features: the file of kind `features`, see `tfx_pipeline.data.feature_set`.
        towers: absolute; what the features were made by, see
            `tfx_pipeline.data.feature_extraction.find_towers`.
        image_ids: whether ids keep the image suffix (see ImageConfig.ids).
        splits: how train, val and test are made.
        propensity: examination propensities of the log.
        correlation: which queries count as weakly correlated with visible content.
        about: what the data is, for people.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    kind: Literal["clicks", "captions", "answers", "features"]
    name: str
    log: str = "log/*"
    format: LogFormat = "auto"
    csv: CsvConfig = CsvConfig()
    images: str | None = "images"
    texts: str | None = None
    features: str | None = None
    towers: str | None = None
    image_ids: Literal["stem", "name"] = "stem"
    splits: SplitConfig = SplitConfig()
    propensity: PropensityConfig = PropensityConfig()
    correlation: CorrelationConfig = CorrelationConfig()
    about: str = ""
    _root: str = PrivateAttr(default=".")

    @classmethod
    def load(cls, folder: str | Path) -> DataFolder:
        """Read a data folder: a path, or a URI of a bucket.

        Raises:
            UserError: no data.yaml there, or it does not follow the form; names the key.
        """
        root = check_place(str(folder), "data.folder")
        path = join(root, FILE_NAME)
        try:
            values = yaml.safe_load(_read(root, path).decode("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{path}: no such file. A data folder holds a {FILE_NAME}; `vlsearch data "
                "emoji` and `vlsearch data captions` write one."
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not readable as YAML ({error}).") from error
        if not isinstance(values, dict):
            raise UserError(f"{path}: must hold keys and values, such as `kind: clicks`.")
        try:
            loaded = cls.model_validate(values)
        except ValidationError as error:
            raise UserError(explain_validation_error(error, path, cls)) from error
        loaded._root = cls.root_of(folder)
        return loaded

    @staticmethod
    def root_of(folder: str | Path) -> str:
        """Return the absolute path of a folder, or its URI."""
        place = check_place(str(folder), "data.folder")
        return place if is_uri(place) else str(Path(place).resolve())

    @property
    def root(self) -> str:
        """The absolute path of the folder, or its URI."""
        return self._root

    def save(self, folder: str | Path) -> None:
        """Write data.yaml into a folder."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        values = {"version": self.version, **values}
        text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
        write_atomically(Path(folder) / FILE_NAME, text)

    @property
    def log_pattern(self) -> str:
        """The pattern of the log with the folder in front."""
        return self._absolute(self.log)

    @property
    def image_root(self) -> str | None:
        """The image folder, absolute; None if there is none."""
        return None if self.images is None else self._absolute(self.images)

    @property
    def feature_file(self) -> Path:
        """The file of features, absolute.

        Raises:
            UserError: data.yaml names none, or the folder is in a bucket.
        """
        if self.features is None:
            raise UserError(f"{self._file}: kind features needs the key `features`.")
        if is_uri(self._root):
            raise UserError(
                f"{self._file}: kind is features, which are read from a local or mounted disk "
                "only. Copy the folder to one and give its path."
            )
        return Path(self._root, self.features)

    def resolve(self, window: int | tuple[int, int] | None = None) -> ResolvedInput:
        """Log files and the fingerprint of the input, with the image files and those of texts.

        Raises:
            UserError: nothing matches, or a bucket cannot be listed.
        """
        for place in (self.log_pattern, self.image_root or ""):
            check_place(place, self._file)
        log = resolve_spans(self.log_pattern, window, self._root)
        images = list_files(self.image_root) if self.image_root is not None else []
        of_log = log.fingerprint
        key = fingerprint_text(of_log, *(repr(tuple(stamp)) for stamp in images))
        if (texts := self._resolve_texts()) is not None:
            key = fingerprint_text(key, texts.fingerprint)
            of_log = fingerprint_text(of_log, texts.fingerprint)
        return ResolvedInput(log.files, key, log.spans, of_log)

    def example_config(self, **changes: Any) -> ExampleGenConfig:
        """Return the configuration of Example building for this data, with changes by field name.

        Raises:
            UserError: the kind is `features` or `answers`, of which Examples are built otherwise;
                or no file of texts is there.
        """
        if self.kind == "answers":
            raise UserError(
                f"{self._file}: kind is answers, questions about images: it is for `vlsearch "
                "train` and `evaluate`, with a task that learns answers."
            )
        if self.kind == "features":
            raise UserError(
                f"{self._file}: kind is features, which holds no images: it is for "
                "`vlsearch train` and `evaluate`, with towers of kind features."
            )
        values: dict[str, Any] = {
            "kind": self.kind,
            "source_name": self.name,
            "format": self.format,
            "csv": self.csv,
            "splits": self.splits,
            "propensity": self.propensity,
            "correlation": self.correlation,
            "images": ImageConfig(root=self.image_root, ids=self.image_ids),
        }
        if (texts := self._resolve_texts()) is not None:
            values["texts"] = texts.files
        return ExampleGenConfig(**(values | changes))

    def _resolve_texts(self) -> ResolvedInput | None:
        """Return the files of texts; None if data.yaml names none."""
        if self.texts is None:
            return None
        pattern = check_place(self._absolute(self.texts), self._file)
        return resolve_spans(pattern, None, self._root, what="text")

    @property
    def _file(self) -> str:
        """Where data.yaml is, for messages."""
        return join(self._root, FILE_NAME)

    def _absolute(self, path: str) -> str:
        if is_uri(path) or Path(path).is_absolute():
            return path
        return join(self._root, path)


def _read(root: str, path: str) -> bytes:
    """Return the bytes of data.yaml."""
    if not is_uri(root):
        return Path(path).read_bytes()
    from tfx_pipeline.storage.objects import check_access, read_bytes

    check_access(root)
    return read_bytes(path)
