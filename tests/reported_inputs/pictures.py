"""Sixteen small pictures, and words for them."""

from pathlib import Path

from PIL import Image, ImageDraw

RGB = {
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 70, 220),
    "black": (20, 20, 20),
}
SHAPES = ("circle", "square", "triangle", "cross")
PICTURES = tuple((colour, shape) for colour in RGB for shape in SHAPES)
_SIDE = 24


def write_pictures(folder: Path) -> None:
    """Write `red-circle.png` and the others."""
    folder.mkdir(parents=True, exist_ok=True)
    for colour, shape in PICTURES:
        draw(colour, shape).save(folder / f"{colour}-{shape}.png")


def draw(colour: str, shape: str) -> Image.Image:
    """A shape on white."""
    image = Image.new("RGB", (_SIDE, _SIDE), "white")
    pen, fill = ImageDraw.Draw(image), RGB[colour]
    if shape == "circle":
        pen.ellipse((4, 4, 19, 19), fill)
    elif shape == "square":
        pen.rectangle((4, 4, 19, 19), fill)
    elif shape == "triangle":
        pen.polygon([(12, 3), (21, 20), (2, 20)], fill)
    else:
        pen.rectangle((10, 3, 13, 20), fill)
        pen.rectangle((3, 10, 20, 13), fill)
    return image
