"""Files of pictures for tests: formats that Pillow does not write, and folders of them by class."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastrcaps_dse import data
from fastrcaps_dse.data import DataSet

Write = Callable[[Path], None]
SIDE = 20


def png_bytes(pixels: NDArray[Any]) -> bytes:
    """A PNG of 8 or 16 bits: [H, W] gray, [H, W, 2] with alpha, [H, W, 3] color, [H, W, 4] with alpha."""
    height, width, *channels = pixels.shape
    kind = {(): 0, (2,): 4, (3,): 2, (4,): 6}[tuple(channels)]
    bits = 8 * pixels.dtype.itemsize
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    content = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def tiff_bytes(content: bytes, *, side: int = SIDE, bits: int = 16, photometric: int = 1, number_type: int = 1) -> bytes:
    """A TIFF of one strip of gray values, as they are packed."""
    tags = [(256, side), (257, side), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, side)]
    tags += [(279, len(content)), (339, number_type)]
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, 8 + len(content)) + content + directory


def packed_12(values: NDArray[np.uint16]) -> bytes:
    """Pairs of values of 12 bits in three bytes."""
    first, second = values.reshape(-1, 2).astype(int).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()


def saved(image: Image.Image, **how: Any) -> Write:
    """Writes an image of Pillow."""
    return lambda path: image.save(path, **how)


def written(content: bytes) -> Write:
    """Writes these bytes."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def gray(value: int = 200, side: int = SIDE) -> Write:
    """Writes a gray picture of one value."""
    return saved(Image.new("L", (side, side), value))


def write_tree(folder: Path, files: Mapping[str, Write | None]) -> Path:
    """Files by their paths in a folder; None makes a folder."""
    for name, write in files.items():
        path = folder / name
        if write is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    return folder


def write_classes(folder: Path, *parts: str, classes: str = "ab", suffix: str = ".png", write: Write | None = None) -> Path:
    """Two pictures of each class in each part."""
    names = [f"{part}/{name}/{k}{suffix}" for part in (parts or ("train", "test")) for name in classes for k in range(2)]
    return write_tree(folder, dict.fromkeys(names, write or gray()))


def load_picture(folder: Path, suffix: str, write: Write) -> DataSet:
    """A data set that has the same picture in all classes and parts."""
    return data.load(write_classes(folder, suffix=suffix, write=write))
