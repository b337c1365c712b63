"""One picture of any format, mode and depth: decoded, upright, its transparency apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112  # the EXIF tag
WHITE_IS_ZERO = 262, 0  # the TIFF tag of photometric interpretation, and its value for inverted gray
BITS_PER_SAMPLE = 258  # the TIFF tag
SIXTEEN_BITS = re.compile(r";16[BLN]")  # in the name of how the values of a file are packed
SIXTEEN_BIT_FORMATS = ("PNG", "PPM")  # whose pictures of mode "I" have 16 bits
Depth = Literal["8", "8 of 16", "12", "16", "32", "float"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as it was stored, upright."""

    pixels: NDArray[Any]  # [H, W] if it is gray, else [H, W, 3]; uint8, or what the depth needs
    alpha: NDArray[np.uint8] | None  # [H, W]; None if nothing is transparent
    depth: Depth  # "8 of 16": color of 16 bits, of which Pillow reads the high byte
    mode: str  # Pillow's name of how it is stored
    turned: bool  # by its EXIF orientation
    animated: bool  # it has further frames


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A picture that was not read, and why: a reason, or a size that is not that of the others."""

    reason: str = ""
    size: tuple[int, int] | None = None  # (width, height)


def read_picture(path: Path, size: tuple[int, int] | None = None) -> Picture | Unread:
    """The picture of a file. With `size`, (width, height), one of another size is not decoded.

    A decoder fails in as many ways as files are broken, so any error makes an `Unread`.
    """
    from PIL import Image, UnidentifiedImageError

    if path.exists() and not path.is_file():  # a pipe would be waited for
        return Unread(reason="no file")
    try:
        # from an open file: a path lets Pillow map the file, which garbles TIFF that it has to turn
        with path.open("rb") as file, Image.open(file) as image:
            if size is not None and sorted(image.size) != sorted(size):
                return Unread(size=_upright_size(image))
            return decode(image)
    except UnidentifiedImageError:
        return Unread(reason="no picture" if path.stat().st_size else "empty")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Unread(reason=f"more than the {Image.MAX_IMAGE_PIXELS:,} pixels that a picture may have")
    except FileNotFoundError:
        return Unread(reason="a link that leads nowhere")
    except OSError as error:
        return Unread(reason=error.strerror or _brief(error))
    except MemoryError:
        return Unread(reason="it needs more memory than there is")
    except Exception as error:
        return Unread(reason=f"broken: {_brief(error)}")


def _brief(error: Exception) -> str:
    """The message of a library in one short line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:120]


def decode(image: Image) -> Picture:
    """A picture that Pillow has opened. Raises what its decoder raises."""
    turned_by_pillow = image.format == "TIFF" and _orientation(image) > 1
    animated = bool(getattr(image, "is_animated", False))
    high_byte = SIXTEEN_BITS.search(str([tile[3] for tile in getattr(image, "tile", ())])) is not None
    image.load()
    pixels, alpha = _separate(image)
    if alpha is not None and alpha.min() == 255:
        alpha = None
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0].copy()  # gray, stored as color
    orientation = 1 if image.format == "TIFF" else _orientation(image)  # asked after loading, as it may lie behind the pixels
    return Picture(
        pixels=_upright(pixels, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        depth="8 of 16" if high_byte and pixels.dtype == np.uint8 else _depth(image),
        mode=image.mode,
        turned=turned_by_pillow or orientation > 1,
        animated=animated,
    )


def _separate(image: Image) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """The (pixels [H, W] or [H, W, 3], alpha [H, W] or None) of a loaded picture."""
    keyed = image.info.get("transparency")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or (keyed is not None and image.mode in ("1", "L", "P", "RGB")):
        if image.mode == "La":
            image = image.convert("LA")
        values = np.asarray(image if image.mode in ("LA", "RGBA") else image.convert("RGBA"))
        return (values[..., 0] if values.shape[2] == 2 else values[..., :3]), values[..., -1]
    if image.mode == "1":
        return np.asarray(image.convert("L")), None
    if image.mode in ("L", "RGB"):
        return np.asarray(image), None
    if image.mode.startswith("I") or image.mode == "F":
        values = _wide(image)
        alpha = np.where(values == keyed, 0, 255).astype(np.uint8) if isinstance(keyed, int) else None
        return values, alpha
    return np.asarray(_from_lab(image) if image.mode == "LAB" else image.convert("RGB")), None


def _wide(image: Image) -> NDArray[Any]:
    """The values of a picture of more than 8 bits: uint16, int32 or float32, black being the lowest."""
    values: NDArray[Any] = np.asarray(image)
    values = values.astype(values.dtype.newbyteorder("="))
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(WHITE_IS_ZERO[0]) == WHITE_IS_ZERO[1] and values.dtype == np.uint16:
        return np.asarray(
            2 ** int(tags.get(BITS_PER_SAMPLE, (16,))[0]) - 1 - values, dtype=np.uint16
        )  # Pillow inverts 8 bits only
    return values


def _depth(image: Image) -> Depth:
    """How many bits a value has."""
    if image.mode == "F":
        return "float"
    if image.mode.startswith("I;16"):
        return "12" if getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0] == 12 else "16"
    if image.mode == "I":
        return "16" if image.format in SIXTEEN_BIT_FORMATS else "32"
    return "8"


def _from_lab(image: Image) -> Image:
    """A picture of CIE Lab as sRGB."""
    from PIL import ImageCms

    to_srgb = ImageCms.buildTransformFromOpenProfiles(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    converted = ImageCms.applyTransform(image, to_srgb)
    assert converted is not None  # it is not in place
    return converted


# --- orientation --------------------------------------------------------------------------------------------------------


def _orientation(image: Image) -> int:
    """How a picture is to be turned, from 1 (not at all) to 8, as EXIF counts. Broken EXIF data say nothing."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _upright_size(image: Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if image.format != "TIFF" and _orientation(image) >= 5 else (width, height)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels [H, W, ...] as the camera was held. Source: EXIF 2.32, tag Orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
