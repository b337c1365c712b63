"""What a CapsNet sees in a picture: the decoder's reconstruction, and what each dimension of the winning capsule changes.

Source of the grid: Fig. 4 of Sabour et al., NIPS 2017. Each row changes one dimension of the capsule, each column by as much.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastrcaps_dse.capsnet.network import CapsNet
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.export.images import png, write_text
from fastrcaps_dse.export.picked import PickedNetwork, Prediction, as_floats, predictions

if TYPE_CHECKING:
    from PIL.Image import Image

STEPS = tuple(round(-0.25 + 0.05 * k, 2) for k in range(11))
"""By how much a dimension is changed, column by column."""

MOST = 20  # pictures of one explanation
MOST_LETTERS = 70  # of a picture's name in an image
CELL = 56  # pixels of a cell of the grid, at least
HEAD = 30  # pixels of a line of text


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a CapsNet sees in one image. Images are in [0, 1]."""

    name: str  # of the picture
    prediction: Prediction
    image: Tensor  # [C, H, W]
    reconstruction: Tensor  # [C, H, W]
    grid: Tensor  # [D, 11, C, H, W]: dimension d of the capsule changed by STEPS[k], decoded


@torch.no_grad()
def explain(picked: PickedNetwork, images: Tensor, names: Sequence[str]) -> list[Explanation]:
    """What the network sees in each of the images, uint8 or in [0, 1], [B, C, H, W].

    Raises InputError for a network without a decoder, or too many pictures to read.
    """
    network = picked.network
    if not isinstance(network, CapsNet):
        raise InputError("LeNet5 has no capsules and no decoder, so there is nothing to explain", "pick a CapsNet")
    if len(images) > MOST:
        raise InputError(f"{len(images)} pictures are too many to explain at once", f"name up to {MOST}")
    floats = as_floats(images)
    v_BJD = network.output_capsules(floats)
    said = predictions(picked.scores_of(floats), picked.classes)
    return [_explanation(network, *each) for each in zip(names, said, floats, v_BJD, strict=True)]


def _explanation(network: CapsNet, name: str, prediction: Prediction, image: Tensor, v_JD: Tensor) -> Explanation:
    dimensions = v_JD.shape[1]
    changed = v_JD.repeat(dimensions * len(STEPS), 1, 1)
    changes = torch.einsum("de,k->dke", torch.eye(dimensions), torch.tensor(STEPS)).flatten(0, 1)
    changed[:, prediction.label] += changes
    all_capsules = torch.cat([v_JD.unsqueeze(0), changed])
    winners = torch.full((len(all_capsules),), prediction.label)
    decoded = network.decode(all_capsules, winners).view(-1, *image.shape)
    grid = decoded[1:].view(dimensions, len(STEPS), *image.shape)
    return Explanation(name=name, prediction=prediction, image=image, reconstruction=decoded[0], grid=grid)


# --- as pictures ------------------------------------------------------------------------------------------------------


def to_image(pixels: Tensor, factor: int) -> Image:
    """An image [C, H, W] in [0, 1] as a picture, each pixel `factor` wide."""
    from PIL import Image

    levels = (pixels * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    channels, height, width = levels.shape
    if channels == 3:
        picture = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
    else:
        picture = Image.fromarray(np.ascontiguousarray(levels[0]))
    return picture.resize((width * factor, height * factor), Image.Resampling.NEAREST).convert("RGB")


def explanation_image(explanation: Explanation) -> Image:
    """One explanation as a picture: image, reconstruction and scores above, the grid below."""
    from PIL import Image, ImageDraw

    dimensions, columns, _, height, width = explanation.grid.shape
    factor = max(1, -(-CELL // max(height, width)))
    cell_w, cell_h, side = width * factor + 4, height * factor + 4, 90
    large = 3 * factor
    top = 3 * HEAD + height * large + 30
    size = (max(side + columns * cell_w + 20, 2 * width * large + 60), top + HEAD + dimensions * cell_h + 20)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    said = explanation.prediction
    name = explanation.name
    write_text(draw, (16, 14), name if len(name) <= MOST_LETTERS else "…" + name[1 - MOST_LETTERS :], size=18)
    line = f"{said.name}: {said.score:.3f}; second {said.second}: {said.second_score:.3f}"
    write_text(draw, (16, 14 + HEAD), line, size=18)
    for column, (title, pixels) in enumerate((("image", explanation.image), ("reconstruction", explanation.reconstruction))):
        x = 16 + column * (width * large + 20)
        write_text(draw, (x, 14 + 2 * HEAD), title, size=15)
        image.paste(to_image(pixels, large), (x, 3 * HEAD + 10))
    for k, step in enumerate(STEPS):
        write_text(draw, (side + k * cell_w + cell_w // 2, top + HEAD - 6), f"{step:+.2f}", size=14, anchor="mb")
    for d in range(dimensions):
        y = top + HEAD + d * cell_h
        write_text(draw, (side - 10, y + cell_h // 2), f"dim {d + 1}", size=14, anchor="rm")
        for k in range(columns):
            image.paste(to_image(explanation.grid[d, k], factor), (side + k * cell_w, y))
    return image


def explanations_png(explanations: Sequence[Explanation]) -> bytes:
    """The explanations below each other, as a PNG file."""
    from PIL import Image

    parts = [explanation_image(each) for each in explanations]
    whole = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white")
    y = 0
    for part in parts:
        whole.paste(part, (0, y))
        y += part.height
    return png(whole)


STYLE = (
    "body{font:16px system-ui,sans-serif;color:#1F2933;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "img{max-width:100%;height:auto}h2{margin-top:2.5rem}"
)


def explanations_html(explanations: Sequence[Explanation]) -> bytes:
    """The explanations as one HTML file that opens offline."""
    sections = []
    for each in explanations:
        said = each.prediction
        data = base64.b64encode(png(explanation_image(each))).decode("ascii")
        name, winner, second = (html.escape(text) for text in (each.name, said.name, said.second))
        sections.append(
            f"<h2>{name}</h2><p>{winner}: {said.score:.3f}; second choice {second}: {said.second_score:.3f}</p>"
            f'<img alt="{name}, its reconstruction, and what each dimension changes" src="data:image/png;base64,{data}">'
        )
    body = (
        "<h1>What the network sees</h1><p>Beside each image is what the decoder makes of the winning capsule. In the grid, each row "
        "changes one of its dimensions, from -0.25 to 0.25 in steps of 0.05 (Sabour et al. 2017, Fig. 4).</p>"
        + "".join(sections)
    )
    page = f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Explanation</title><style>{STYLE}</style></head>"
    return f"{page}<body>{body}</body></html>\n".encode()
