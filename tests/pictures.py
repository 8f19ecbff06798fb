"""Image files by hand: what Pillow does not write."""

import io
import struct
import zlib

ASCII, SHORT, LONG = 2, 3, 4
ORIENTATION, RESOLUTION_UNIT = 274, 296


def saved(image, kind="JPEG", **options):
    """An image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif_data(orientation, order="<", kind=SHORT, more=()):
    """EXIF data as Pillow's savers take them, with entries of any type: (tag, type, 4 bytes)."""
    value = struct.pack(order + {SHORT: "H", LONG: "L"}[kind], orientation)
    entries = sorted([*more, (ORIENTATION, kind, value.ljust(4, b"\0"))])
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", len(entries))
    for tag, type_, content in entries:
        count = len(content) if type_ == ASCII else 1
        directory += struct.pack(order + "HHI", tag, type_, count) + content
    return b"Exif\0\0" + mark + struct.pack(order + "I", 8) + directory + bytes(4)


def png_chunk(name, data):
    """A chunk with its checksum."""
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png_file(width, rows, depth, colour, chunks=()):
    """A PNG of packed rows; `chunks` (name, data) precede the pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)
