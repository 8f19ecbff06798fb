"""What a reported input is: how its files are made, and what has to come of them."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image as training gets it: its id, its size, and colours of pixels by (x, y)."""

    image: str
    size: tuple[int, int]
    pixels: Mapping[tuple[int, int], Colour]


@dataclasses.dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: what is odd about it.
        write: makes its files in a folder that exists.
        accepted: rows of the log, or captions.
        rejected: rows by reason.
        texts: the queries or captions of chosen images, by image id, normalised.
        error: the whole message where the input is refused; `{folder}` and `{out}` stand for the
            input's folder and for what is written.
        messages: why rows were rejected, by row.
        splits: pairs by split, where that is the point.
        picture: an image, where that is the point.
        captions: name of the caption file; "" for data folders.
        folder: name of the folder.
    """

    name: str
    write: Callable[[Path], None]
    accepted: int
    rejected: Mapping[str, int] = dataclasses.field(default_factory=dict)
    texts: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    error: str = ""
    messages: Mapping[int, str] = dataclasses.field(default_factory=dict)
    splits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    picture: Picture | None = None
    captions: str = ""
    folder: str = "input"

    def make(self, parent: Path) -> Path:
        """Write the input into a new folder; return the folder."""
        folder = parent / self.folder
        folder.mkdir(parents=True)
        self.write(folder)
        return folder

    def expected_error(self, folder: Path, out: Path) -> str:
        """The message, with the places in it; "" if the input is taken."""
        return self.error.replace("{folder}", str(folder)).replace("{out}", str(out))

    def command(self, folder: Path, out: Path, config: Path) -> list[str]:
        """Arguments of `vlsearch` for this input; `config` is an experiment that soon ends."""
        if self.captions:
            file, images = folder / self.captions, folder / "photos"
            return ["data", "captions", str(file), "--images", str(images), "--out", str(out)]
        return ["train", "--config", str(config), "--data", str(folder), "--run", str(out)]

    def rejected_folder(self, out: Path) -> Path:
        """Where a run of the command keeps what was rejected."""
        return out / ("rejected" if self.captions else "data/rejected")
