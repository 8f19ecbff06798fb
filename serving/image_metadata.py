"""JPEG and PNG files without their metadata: what is broken there must not cost the picture."""

from __future__ import annotations

import zlib

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_START_OF_SCAN = 0xDA
# JFIF and Adobe's marker say what the components are; other APPn segments and comments do not.
_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_KEPT_CHUNKS = (b"tRNS", b"eXIf")


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG or PNG file without profiles, texts, previews and the like; others as they are.

    EXIF data stay, for the orientation; in PNG only if their checksum is right.
    """
    if data.startswith(_JPEG):
        return _bare_jpeg(data)
    if data.startswith(_PNG):
        return _bare_png(data)
    return data


def _bare_jpeg(data: bytes) -> bytes:
    kept, at = [_JPEG], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _START_OF_SCAN:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at:end]
        metadata = marker == _COMMENT or _APP0 <= marker <= _APP15
        needed = marker in (_APP0, _APP14) or (marker == _APP1 and segment[4:10] == _EXIF)
        if needed or not metadata:
            kept.append(segment)
        at = end
    return b"".join([*kept, data[at:]])


def _bare_png(data: bytes) -> bytes:
    kept, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        chunk = data[at:end]
        name, checksum = chunk[4:8], int.from_bytes(chunk[-4:], "big")
        critical = name[:1].isupper()
        if critical or (name in _KEPT_CHUNKS and zlib.crc32(chunk[4:-4]) == checksum):
            kept.append(chunk)
        at = end
    return b"".join([*kept, data[at:]])
