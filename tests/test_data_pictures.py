"""Pictures of every mode, depth, transparency and orientation have the right pixels; broken ones are refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fastrcaps_dse import data
from fastrcaps_dse.data.pictures import Picture, decode, read_picture
from fastrcaps_dse.data.unify import FAINT, on_ground, to_bytes, unify
from fastrcaps_dse.errors import InputError, MachineError
from tests.picture_files import (
    SIDE,
    Write,
    gray,
    load_picture,
    packed_12,
    png_bytes,
    saved,
    tiff_bytes,
    write_classes,
    write_tree,
    written,
)

RANDOM = np.random.default_rng(5)
GRAY = RANDOM.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
COLOR = RANDOM.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
WIDE = RANDOM.integers(0, 65536, (SIDE, SIDE), dtype=np.uint16)
TWELVE = RANDOM.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16)
UNIT = RANDOM.random((SIDE, SIDE), dtype=np.float32)
BITS = RANDOM.integers(0, 2, (SIDE, SIDE)).astype(bool)
ALPHA = RANDOM.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
INDEX = RANDOM.integers(0, 4, (SIDE, SIDE), dtype=np.uint8)
PALETTE = np.array([[10, 200, 30], [0, 0, 0], [255, 128, 64], [7, 7, 7]], dtype=np.uint8)
OPAQUE = np.full_like(ALPHA, 255)


def rounded(values: NDArray[Any], top: int) -> NDArray[np.uint8]:
    """The oracle of depths: whole numbers from 0 to `top` as bytes."""
    return np.array([[round(int(value) * 255 / top) for value in row] for row in values], dtype=np.uint8)


def composed(values: NDArray[Any], alpha: NDArray[np.uint8], ground: int) -> NDArray[np.uint8]:
    """The oracle of transparency, in floats."""
    opacity = alpha / 255 if values.ndim == 2 else alpha[..., None] / 255
    return np.floor(values * opacity + ground * (1 - opacity) + 0.5).astype(np.uint8)


def palette_image(**info: Any) -> Image.Image:
    image = Image.fromarray(INDEX)
    image.putpalette(PALETTE.tobytes())
    image.info.update(info)
    return image


def ink(color: int, *, mode: str = "RGBA") -> Image.Image:
    """One color everywhere: only the alpha tells where the ink is."""
    channels = [np.full_like(ALPHA, color)] * (len(mode) - 1)
    return Image.fromarray(np.stack([*channels, ALPHA], axis=-1), mode=None)


def lab_to_srgb(lab: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIE Lab (D50) of 8 bits, a and b from 128, as sRGB: the closed form. Source: CIE 15, IEC 61966-2-1, Bradford to D65."""
    lightness, a, b = lab[..., 0] / 2.55, lab[..., 1] - 128.0, lab[..., 2] - 128.0
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    to_linear = np.array(
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    )
    linear = np.clip(xyz @ to_linear.T, 0, 1)
    return np.asarray(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def reread(image: Image.Image, kind: str, **how: Any) -> NDArray[np.uint8]:
    """What a lossy format makes of an image, by Pillow's own conversion."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return np.asarray(Image.open(file).convert("RGB"))


def oriented(array: NDArray[np.uint8], orientation: int) -> Write:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(array), exif=exif.tobytes())


TALL = RANDOM.integers(0, 256, (SIDE + 3, SIDE), dtype=np.uint8)
TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}
SMOOTH = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8) * 5
SMOOTH_COLOR = Image.fromarray(np.stack([SMOOTH, SMOOTH[::-1], 255 - SMOOTH], axis=-1))
CMYK = SMOOTH_COLOR.convert("CMYK")
LAB = np.stack([100 + SMOOTH // 4, 118 + SMOOTH // 10, 138 - SMOOTH // 10], axis=-1).astype(np.uint8)
FRAMES = [Image.fromarray(GRAY), Image.new("L", (SIDE, SIDE), 9)]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, and the pixels that it has: [H, W] for one channel, [H, W, 3] for three."""

    name: str
    suffix: str
    write: Write
    pixels: NDArray[Any]
    said: str = ""  # in the notes; nothing at all if it is empty
    tolerance: int = 0


def transparent(name: str, image: Image.Image, pixels: NDArray[Any], ground: str, suffix: str = ".png", **how: Any) -> Case:
    return Case(name=name, suffix=suffix, write=saved(image, **how), pixels=pixels, said=f"transparent parts are {ground}")


CASES = [
    # --- depth
    Case(name="8 bits", suffix=".png", write=saved(Image.fromarray(GRAY)), pixels=GRAY),
    Case(name="1 bit", suffix=".png", write=saved(Image.fromarray(BITS)), pixels=255 * BITS.astype(np.uint8)),
    Case(name="1 bit TIFF", suffix=".tif", write=saved(Image.fromarray(BITS)), pixels=255 * BITS.astype(np.uint8)),
    Case(name="PBM", suffix=".pbm", write=saved(Image.fromarray(BITS)), pixels=255 * BITS.astype(np.uint8)),
    Case(name="16 bits", suffix=".png", write=saved(Image.fromarray(WIDE)), pixels=rounded(WIDE, 65535), said="16-bit values"),
    Case(name="16-bit TIFF", suffix=".tif", write=saved(Image.fromarray(WIDE)), pixels=rounded(WIDE, 65535), said="16-bit"),
    Case(
        name="16-bit big-endian TIFF",
        suffix=".tif",
        write=saved(Image.frombytes("I;16B", (SIDE, SIDE), WIDE.astype(">u2").tobytes())),
        pixels=rounded(WIDE, 65535),
        said="16-bit",
    ),
    Case(
        name="16-bit PGM",
        suffix=".pgm",
        write=written(b"P5 %d %d 65535\n" % (SIDE, SIDE) + WIDE.astype(">u2").tobytes()),
        pixels=rounded(WIDE, 65535),
        said="16-bit",
    ),
    Case(
        name="12-bit PGM, of which Pillow makes 16",
        suffix=".pgm",
        write=written(b"P5 %d %d 4095\n" % (SIDE, SIDE) + TWELVE.astype(">u2").tobytes()),
        pixels=rounded(TWELVE, 4095),
        said="16-bit",
    ),
    Case(
        name="inverted 16-bit TIFF",
        suffix=".tif",
        write=written(tiff_bytes(WIDE.tobytes(), photometric=0)),
        pixels=rounded(65535 - WIDE, 65535),
        said="16-bit",
    ),
    Case(
        name="inverted 8-bit TIFF",
        suffix=".tif",
        write=written(tiff_bytes(GRAY.tobytes(), bits=8, photometric=0)),
        pixels=255 - GRAY,
    ),
    Case(
        name="12-bit TIFF",
        suffix=".tif",
        write=written(tiff_bytes(packed_12(TWELVE), bits=12)),
        pixels=rounded(TWELVE, 4095),
        said="12-bit values from 0 to 4,095",
    ),
    Case(
        name="16-bit JPEG 2000",
        suffix=".jp2",
        write=saved(Image.fromarray(WIDE), irreversible=False),
        pixels=rounded(WIDE, 65535),
        said="16-bit",
    ),
    Case(
        name="32-bit TIFF of bytes",
        suffix=".tif",
        write=saved(Image.fromarray(GRAY.astype(np.int32))),
        pixels=GRAY,
        said="32-bit values from 0 to 255",
    ),
    Case(
        name="32-bit TIFF of 16 bits",
        suffix=".tif",
        write=saved(Image.fromarray(WIDE.astype(np.int32))),
        pixels=rounded(WIDE, 65535),
        said="32-bit values from 0 to 65,535",
    ),
    Case(
        name="floats from 0 to 1",
        suffix=".tif",
        write=saved(Image.fromarray(UNIT)),
        pixels=np.rint(UNIT * np.float32(255)).astype(np.uint8),
        said="floats from 0 to 1",
    ),
    Case(
        name="floats from 0 to 255",
        suffix=".tif",
        write=saved(Image.fromarray(GRAY.astype(np.float32))),
        pixels=GRAY,
        said="floats from 0 to 255",
    ),
    Case(
        name="16-bit color",
        suffix=".png",
        write=written(png_bytes(COLOR.astype(np.uint16) * 257)),
        pixels=COLOR,
        said="16-bit color keeps its high byte",
    ),
    Case(
        name="16-bit gray with alpha",
        suffix=".png",
        write=written(png_bytes(np.stack([GRAY, OPAQUE], axis=-1).astype(np.uint16) * 257)),
        pixels=GRAY,
        said="16-bit color keeps its high byte",
    ),
    # --- modes and formats
    Case(name="color", suffix=".png", write=saved(Image.fromarray(COLOR)), pixels=COLOR),
    Case(
        name="gray stored in color",
        suffix=".png",
        write=saved(Image.fromarray(GRAY).convert("RGB")),
        pixels=GRAY,
        said="8 gray pictures were stored in color",
    ),
    Case(name="palette", suffix=".png", write=saved(palette_image()), pixels=PALETTE[INDEX]),
    Case(
        name="gray palette",
        suffix=".png",
        write=saved(Image.fromarray(GRAY).convert("P")),
        pixels=GRAY,
        said="gray pictures were stored in color",
    ),
    Case(name="BMP", suffix=".bmp", write=saved(Image.fromarray(COLOR)), pixels=COLOR),
    Case(name="TGA", suffix=".tga", write=saved(Image.fromarray(COLOR)), pixels=COLOR),
    Case(name="PPM", suffix=".ppm", write=saved(Image.fromarray(COLOR)), pixels=COLOR),
    Case(name="upper-case suffix", suffix=".PNG", write=saved(Image.fromarray(GRAY), format="PNG"), pixels=GRAY),
    Case(name="no suffix", suffix="", write=saved(Image.fromarray(GRAY), format="PNG"), pixels=GRAY),
    Case(
        name="gray JPEG",
        suffix=".jpg",
        write=saved(Image.fromarray(SMOOTH)),
        pixels=reread(Image.fromarray(SMOOTH), "JPEG")[..., 0],
    ),
    Case(name="color JPEG", suffix=".jpg", write=saved(SMOOTH_COLOR), pixels=reread(SMOOTH_COLOR, "JPEG")),
    Case(name="CMYK JPEG", suffix=".jpg", write=saved(CMYK), pixels=reread(CMYK, "JPEG")),
    Case(name="CMYK TIFF", suffix=".tif", write=saved(CMYK), pixels=np.asarray(CMYK.convert("RGB"))),
    Case(
        name="YCbCr TIFF",
        suffix=".tif",
        write=saved(SMOOTH_COLOR.convert("YCbCr")),
        pixels=np.asarray(SMOOTH_COLOR.convert("YCbCr").convert("RGB")),
    ),
    Case(
        name="Lab TIFF",
        suffix=".tif",
        write=saved(Image.frombytes("LAB", (SIDE, SIDE), (LAB ^ np.array([0, 128, 128], dtype=np.uint8)).tobytes())),
        pixels=np.rint(lab_to_srgb(LAB)),
        tolerance=2,
    ),
    Case(name="WebP", suffix=".webp", write=saved(SMOOTH_COLOR, lossless=True), pixels=np.asarray(SMOOTH_COLOR)),
    Case(name="GIF", suffix=".gif", write=saved(Image.fromarray(GRAY)), pixels=GRAY, said="gray pictures were stored in color"),
    Case(
        name="animated GIF",
        suffix=".gif",
        write=saved(FRAMES[0], save_all=True, append_images=FRAMES[1:]),
        pixels=GRAY,
        said="8 of several frames: the first is used",
    ),
    Case(
        name="animated PNG",
        suffix=".png",
        write=saved(FRAMES[0], save_all=True, append_images=FRAMES[1:]),
        pixels=GRAY,
        said="of several frames",
    ),
    Case(
        name="animated WebP",
        suffix=".webp",
        write=saved(FRAMES[0], save_all=True, append_images=FRAMES[1:], lossless=True),
        pixels=GRAY,
        said="of several frames",
    ),
    Case(
        name="TIFF of several pages",
        suffix=".tif",
        write=saved(FRAMES[0], save_all=True, append_images=FRAMES[1:]),
        pixels=GRAY,
        said="of several frames",
    ),
    # --- transparency
    Case(name="nothing transparent", suffix=".png", write=saved(Image.fromarray(np.dstack([COLOR, OPAQUE]))), pixels=COLOR),
    transparent("colors with alpha", Image.fromarray(np.dstack([COLOR, ALPHA])), composed(COLOR, ALPHA, 0), "black"),
    transparent("white ink", ink(255), composed(np.full_like(ALPHA, 255), ALPHA, 0), "black"),
    transparent("black ink", ink(0), composed(np.zeros_like(ALPHA), ALPHA, 255), "white"),
    transparent("nearly black ink", ink(9), composed(np.full_like(ALPHA, 9), ALPHA, 255), "white"),
    transparent("gray ink", ink(128), composed(np.full_like(ALPHA, 128), ALPHA, 0), "black"),
    transparent("black ink in LA", ink(0, mode="LA"), 255 - ALPHA, "white"),
    transparent("gray with alpha", Image.fromarray(np.dstack([GRAY, ALPHA])), composed(GRAY, ALPHA, 0), "black"),
    transparent("WebP with alpha", ink(255), composed(np.full_like(ALPHA, 255), ALPHA, 0), "black", ".webp", lossless=True),
    transparent(
        "palette with one transparent color",
        palette_image(),
        np.where(INDEX[..., None] == 2, 0, PALETTE[INDEX]),
        "black",
        transparency=2,
    ),
    transparent(
        "palette with alpha",
        palette_image(),
        composed(PALETTE[INDEX], np.array([255, 0, 128, 40], dtype=np.uint8)[INDEX], 0),
        "black",
        transparency=bytes([255, 0, 128, 40]),
    ),
    transparent(
        "GIF with a transparent color",
        palette_image(),
        np.where(INDEX[..., None] == 2, 0, PALETTE[INDEX]),
        "black",
        ".gif",
        transparency=2,
    ),
    transparent(
        "gray with a transparent value", Image.fromarray(GRAY), np.where(GRAY == 255, 0, GRAY), "black", transparency=255
    ),
    transparent("1 bit with a transparent value", Image.fromarray(BITS), 255 * BITS.astype(np.uint8), "black", transparency=0),
    transparent(
        "color with a transparent color",
        palette_image().convert("RGB"),
        np.where(INDEX[..., None] == 2, 0, PALETTE[INDEX]),
        "black",
        transparency=(255, 128, 64),
    ),
    transparent(
        "16 bits with a transparent value",
        Image.fromarray(np.where(BITS, 65535, WIDE).astype(np.uint16)),
        np.where(BITS | (WIDE == 65535), 0, rounded(WIDE, 65535)),
        "black",
        transparency=65535,
    ),
    # --- orientation
    *(
        Case(
            name=f"JPEG of orientation {number}",
            suffix=".jpg",
            write=oriented(np.broadcast_to(np.uint8(40 + 8 * np.arange(SIDE)), (SIDE + 4, SIDE)).copy(), number),
            pixels=turn(np.broadcast_to(np.uint8(40 + 8 * np.arange(SIDE)), (SIDE + 4, SIDE))),
            said="" if number == 1 else "8 turned upright by EXIF",
            tolerance=4,  # of the compression
        )
        for number, turn in TURNS.items()
    ),
    *(
        Case(
            name=f"PNG of orientation {number}",
            suffix=".png",
            write=oriented(TALL, number),
            pixels=turn(TALL),
            said="8 turned upright by EXIF",
        )
        for number, turn in TURNS.items()
        if number > 1
    ),
    Case(
        name="TIFF of orientation 6",
        suffix=".tif",
        write=saved(Image.fromarray(TALL), tiffinfo={0x0112: 6}),
        pixels=np.rot90(TALL, -1),
        said="8 turned upright by EXIF",
    ),
    Case(name="an orientation that EXIF does not have", suffix=".png", write=oriented(TALL, 9), pixels=TALL),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_pixels_of_a_picture(tmp_path: Path, case: Case) -> None:
    found = load_picture(tmp_path, case.suffix, case.write)
    expected = case.pixels[None] if case.pixels.ndim == 2 else case.pixels.transpose(2, 0, 1)
    assert tuple(found.train.images.shape[1:]) == expected.shape
    for split in (found.train, found.test):
        for image in split.images.numpy():
            assert np.abs(image.astype(int) - expected).max() <= case.tolerance
    assert case.said in "; ".join(found.notes) and bool(case.said) == bool(found.notes), found.notes


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 60 and len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("mode", ["RGBX", "RGBa", "La", "HSV", "PA", "I;16L", "I;16B", "1", "L", "CMYK"])
def test_modes_that_only_memory_has(mode: str) -> None:
    if mode in ("RGBa", "La"):
        image = Image.fromarray(np.dstack([COLOR, OPAQUE]) if mode == "RGBa" else np.dstack([GRAY, OPAQUE])).convert(mode)
    elif mode == "PA":
        image = palette_image().convert("PA")
    elif mode.startswith("I;16"):
        image = Image.frombytes(mode, (SIDE, SIDE), WIDE.astype(">u2" if mode.endswith("B") else "<u2").tobytes())
    elif mode == "RGBX":
        image = Image.frombytes("RGBX", (SIDE, SIDE), np.dstack([COLOR, ALPHA]).tobytes())
    else:
        image = Image.fromarray(COLOR).convert(mode)
    read = decode(image)
    if mode.startswith("I;16"):
        assert read.depth == "16" and np.array_equal(read.pixels, WIDE)
        return
    expected = np.dstack([GRAY] * 3) if mode == "La" else np.asarray(image.convert("RGB"))
    assert read.alpha is None and np.array_equal(np.broadcast_to(read.pixels.T, expected.T.shape).T, expected)


# --- against Pillow and numpy, for any values ---------------------------------------------------------------------------

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))


@given(arrays_of.arrays(np.uint16, SIZES))
def test_16_bits_are_rounded(values: NDArray[np.uint16]) -> None:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    read = decode(Image.open(file))
    assert np.array_equal(to_bytes(read.pixels, 65535), rounded(values, 65535))


@given(arrays_of.arrays(np.float32, SIZES, elements=st.floats(0, 1, width=32)))
def test_floats_are_within_half_a_step(values: NDArray[np.float32]) -> None:
    assert np.abs(to_bytes(values, 1.0) / 255 - values).max() <= 0.5 / 255 + 1e-6


@given(arrays_of.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(4))), st.sampled_from([0, 128, 255]))
def test_a_ground_is_that_of_pillow(values: NDArray[np.uint8], ground: int) -> None:
    ours = on_ground(values[..., :3], values[..., 3], ground)
    assert np.array_equal(ours, composed(values[..., :3], values[..., 3], ground))
    back = Image.new("RGBA", values.shape[1::-1], (ground, ground, ground, 255))
    theirs = np.asarray(Image.alpha_composite(back, Image.fromarray(values)).convert("RGB"))
    assert np.abs(ours.astype(int) - theirs).max() <= 1  # Pillow rounds in fewer bits


@given(arrays_of.arrays(np.uint8, SIZES), st.integers(0, 9), st.sampled_from(["PNG", "TIFF"]))
def test_orientations_are_those_of_pillow(values: NDArray[np.uint8], orientation: int, kind: str) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(file, kind, exif=exif)
    theirs = ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue())))
    assert np.array_equal(decode(Image.open(file)).pixels, np.asarray(theirs))


@given(
    st.lists(
        arrays_of.arrays(np.uint8, st.sampled_from([(4, 5), (4, 5, 3)]), elements=st.sampled_from([0, 7, 255])),
        min_size=1,
        max_size=5,
    )
)
def test_one_channel_if_all_are_gray_else_three(values: list[NDArray[np.uint8]]) -> None:
    made = unify([decode(Image.fromarray(array)) for array in values], list(map(str, range(len(values)))))
    colors = [np.asarray(Image.fromarray(array).convert("RGB")) for array in values]
    assert made.images.shape[1] == (1 if all((c == c[..., :1]).all() for c in colors) else 3)
    for image, color in zip(made.images, colors, strict=True):
        assert np.array_equal(np.broadcast_to(image, (3, 4, 5)), color.transpose(2, 0, 1))


@given(st.lists(arrays_of.arrays(np.uint8, (3, 4, 2)), min_size=1, max_size=4))
def test_ink_of_any_color_is_seen(values: list[NDArray[np.uint8]]) -> None:
    """No picture whose alpha varies by as much as half vanishes, if its ink has one color."""
    pictures = []
    for array in values:
        array[..., 0] = array[0, 0, 0]
        array[0, 0, 1], array[0, 1, 1] = 0, 255
        pictures.append(decode(Image.fromarray(array)))
    spans = [int(image.max()) - int(image.min()) for image in unify(pictures, [""] * len(pictures)).images]
    assert len(values) > 1 or spans[0] >= FAINT


# --- sets of several kinds ----------------------------------------------------------------------------------------------


def test_kinds_are_mixed_and_said(tmp_path: Path) -> None:
    write_classes(tmp_path)
    saved(Image.fromarray(COLOR))(tmp_path / "train" / "a" / "0.png")
    saved(Image.fromarray(WIDE))(tmp_path / "test" / "b" / "1.png")
    found = data.load(tmp_path)
    assert found.shape.channels == 3 and np.array_equal(found.train.images[0].numpy(), COLOR.transpose(2, 0, 1))
    assert np.array_equal(found.test.images[3, 1].numpy(), rounded(WIDE, 65535))
    said = "; ".join(found.notes)
    assert "modes L 6, RGB 1, I;16 1 unified" in said and "7 gray pictures got three channels" in said
    assert found.scaling == "value / 255; value / 65535, at a resolution of 1/255"


def test_one_ground_for_the_whole_set(tmp_path: Path) -> None:
    """White ink and black ink in one set: the ground is one on which both are seen."""
    write_classes(tmp_path, write=saved(ink(0)))
    saved(ink(255))(tmp_path / "test" / "a" / "0.png")
    found = data.load(tmp_path)
    assert "transparent parts are mid-gray" in found.notes
    assert np.array_equal(found.test.images[0, 0].numpy(), composed(np.full_like(ALPHA, 255), ALPHA, 128))
    assert np.array_equal(found.train.images[0, 0].numpy(), composed(np.zeros_like(ALPHA), ALPHA, 128))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (UNIT * 2, r"values from 0\.\d+ to 1\."),
        (UNIT - 0.5, "values from -0"),
        (np.where(BITS, np.nan, UNIT).astype(np.float32), "values from nan"),
        (GRAY.astype(np.float32) + 0.5, "neither 0 to 1 nor whole numbers from 0 to 255 in all pictures"),
        (GRAY.astype(np.float32) * 2, "neither 0 to 1 nor whole numbers"),
        (WIDE.astype(np.int32) * 7, "not whole numbers of 8 or 16 bits"),
        (-GRAY.astype(np.int32), "to 0: not whole numbers"),
        (GRAY.astype(np.uint16), "no picture of 16 bits has one above 255"),
    ],
)
def test_ranges_that_are_unclear_are_refused_by_name(tmp_path: Path, values: NDArray[Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_picture(tmp_path, ".tif", saved(Image.fromarray(values)))
    assert ".tif holds values" in error.value.message and error.value.hint


def test_the_picture_whose_range_is_wrong_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path, suffix=".tif", write=saved(Image.fromarray(UNIT)))
    saved(Image.fromarray(UNIT * 3))(tmp_path / "test" / "b" / "1.tif")
    with pytest.raises(InputError, match=r"test/b/1\.tif holds values from"):
        data.load(tmp_path)


# --- broken files -------------------------------------------------------------------------------------------------------


def cut(kind: str, share: float = 0.5) -> bytes:
    file = io.BytesIO()
    SMOOTH_COLOR.save(file, kind)
    return file.getvalue()[: int(len(file.getvalue()) * share)]


def huge_png(side: int) -> bytes:
    """A small file that says it has so many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return png_bytes(GRAY)[:12] + header + struct.pack(">I", zlib.crc32(header)) + png_bytes(GRAY)[33:]


BROKEN = {
    "text.png": (b"no picture", "no picture"),
    "empty.png": (b"", "empty"),
    "labels.csv": (b"0,1,2\n", "no picture"),
    "half.png": (cut("PNG"), "."),
    "half.jpg": (cut("JPEG"), "Truncated"),
    "half.bmp": (cut("BMP"), "truncated"),
    "half.tif": (cut("TIFF"), "."),
    "half.gif": (cut("GIF"), "."),
    "half.webp": (cut("WEBP"), "."),
    "header.jpg": (cut("JPEG", 0.05), "."),
    "checksum.png": (png_bytes(GRAY)[:33] + b"\0\0\0\5IDATabcde\0\0\0\0", "."),
    "bomb.png": (huge_png(100_000), "more than the 89,478,485 pixels"),
    "warned.png": (huge_png(10_000), "more than the 89,478,485 pixels"),
    "other.pdf": (b"%PDF-1.7\n", "no picture"),
    "dims.ppm": (b"P6 -3 x 255\n", "."),
    "float.tif": (tiff_bytes(b"", bits=24, number_type=3), "."),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture_is_named(tmp_path: Path, name: str) -> None:
    content, reason = BROKEN[name]
    write_tree(write_classes(tmp_path), {f"train/b/{name}": written(content)})
    with pytest.raises(data.BadFiles, match=f"train/b/{name} is not an image that can be read: .*{reason}") as error:
        data.load(tmp_path)
    assert [bad.path.name for bad in error.value.files] == [name] and "remove it" in error.value.hint


def test_all_broken_pictures_are_named_at_once(tmp_path: Path) -> None:
    write_classes(tmp_path)
    for name, (content, _) in BROKEN.items():
        (tmp_path / "test" / "a" / name).write_bytes(content)
    with pytest.raises(data.BadFiles, match=f"^{len(BROKEN)} files cannot be used: .* and {len(BROKEN) - 10} more$") as error:
        data.load(tmp_path)
    assert {bad.path.name for bad in error.value.files} == set(BROKEN)
    assert f"fastrcaps-dse data {tmp_path}" in error.value.hint and "\n" not in error.value.message


@pytest.mark.parametrize("raised", [ValueError, SyntaxError, MemoryError, struct.error, EOFError, KeyError, RecursionError])
def test_whatever_a_decoder_raises_is_a_reason(
    tmp_path: Path, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    gray()(tmp_path / "a.png")

    def load(_: object) -> None:
        raise raised("of the decoder")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    read = read_picture(tmp_path / "a.png")
    assert not isinstance(read, Picture) and read.reason


def test_a_picture_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    write_classes(tmp_path)
    monkeypatch.setattr("PIL.Image.open", refuse)
    with pytest.raises(InputError, match=r"8 files cannot be used: .*0\.png \(Permission denied\)"):
        data.load(tmp_path)


def test_pictures_of_several_sizes(tmp_path: Path) -> None:
    write_tree(write_classes(tmp_path), {"train/b/9.png": gray(side=21), "test/b/9.png": saved(Image.new("L", (22, 20)))})
    with pytest.raises(InputError, match=r"8 of 20x20 \(.*0\.png\), 1 of 21x21 \(.*train/b/9\.png\), 1 of 22x20 \(.*test"):
        data.load(tmp_path)


def test_pictures_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classes(tmp_path)
    monkeypatch.setattr("fastrcaps_dse.data.memory.NEGLIGIBLE", 0)
    monkeypatch.setattr("fastrcaps_dse.cores.available_memory", lambda: 2 * 8 * SIDE * SIDE - 1)
    with pytest.raises(MachineError, match=r"needs about 6\.4e-06 GB of memory, and 6\.4e-06 GB are free"):
        data.load(tmp_path)
    monkeypatch.setattr("fastrcaps_dse.cores.available_memory", lambda: 2 * 8 * SIDE * SIDE)
    assert len(data.load(tmp_path).train) == 4


@pytest.mark.parametrize("values", [GRAY // 255, TWELVE], ids=["0 and 1 in bytes", "12 bits in 16"])
def test_pictures_that_are_nearly_black_are_said(tmp_path: Path, values: NDArray[Any]) -> None:
    found = load_picture(tmp_path, ".png", saved(Image.fromarray(values)))
    assert "nearly black" in found.notes[-1] and int(found.train.images.max()) < 32


def test_threads_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{part}/{name}/{k:03d}.png": gray(k) for part in ("train", "test") for name in "ab" for k in range(40)}
    write_tree(tmp_path, files)
    monkeypatch.setattr("fastrcaps_dse.cores.available_cores", lambda: 3)
    assert data.load(tmp_path).train.images[:, 0, 0, 0].tolist() == [*range(40)] * 2
