"""A trained network with the names of its classes: it takes pictures or arrays, and says what it sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fastrcaps_dse.capsnet.algorithms import algorithms_from_dict
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.export.pictures import to_pixels
from fastrcaps_dse.export.plain import LARGEST_PIXEL
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.store import RunRow

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 500  # images


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of one image."""

    label: int
    name: str  # of the class
    score: float  # a capsule's length, in [0, 1]; of LeNet5 a number of any size
    second: str  # the name of the class with the second highest score
    second_score: float
    scores: tuple[float, ...]  # by label


class PickedNetwork(nn.Module):
    """A trained network in eval mode: images float32 [B, C, H, W] in [0, 1] to scores [B, J].

    `classes` are the names of the classes by label, `design` and `shape` those of the network, which is `network`. `scaling` says how
    the pixels of the pictures that trained it were scaled, as the study has it.
    """

    def __init__(
        self, network: CapsNet | LeNet5, *, design: DesignPoint, shape: ImageShape, classes: Sequence[str], scaling: str = ""
    ) -> None:
        super().__init__()
        self.network, self.scaling = network, scaling
        self.design, self.shape, self.classes = design, shape, tuple(classes)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """The class scores, [B, J]: the lengths of the digit capsules, or what LeNet5 gives."""
        return self.network.scores(images)

    def preprocess(self, images: Any) -> Tensor:
        """Images as the network takes them, float32 [B, C, H, W] in [0, 1].

        `images` is a PIL image, an array or tensor of one, or a sequence of those. An array is [H, W], [H, W, C] or [C, H, W]: uint8, or
        floats in [0, 1]. Pictures and uint8 arrays of another size are resized; gray and RGB are converted as the network needs them.
        Raises InputError for anything else.
        """
        if isinstance(images, (list, tuple)):
            if not images:
                raise InputError("there are no images", "give at least one")
            return torch.cat([self.preprocess(image) for image in images])
        if isinstance(images, Tensor):
            images = images.detach().cpu().numpy()
        if isinstance(images, np.ndarray):
            return self._of_array(images)
        if hasattr(images, "convert") and hasattr(images, "size"):
            return self._of_picture(images)
        raise InputError(f"{type(images).__name__} is not an image", "give PIL images, arrays or tensors")

    def _of_picture(self, image: Image) -> Tensor:
        return torch.from_numpy(to_pixels(image, self.shape, self.scaling)).unsqueeze(0).to(torch.float32) / LARGEST_PIXEL

    def _of_array(self, array: np.ndarray[Any, Any]) -> Tensor:
        """One image of an array, [1, C, H, W]."""
        channels, height, width = self.shape.channels, self.shape.height, self.shape.width
        if array.shape == (channels, height, width):
            array = array.transpose(1, 2, 0)
        if array.ndim == 2:
            array = array[:, :, None]
        if array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
            wanted = f"give [H, W], [H, W, C] or [{channels}, {height}, {width}]; several images as a list"
            raise InputError(f"an array of shape {array.shape} is not an image", wanted)
        if array.dtype == np.uint8:
            from PIL import Image

            return self._of_picture(Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0]))
        if not np.issubdtype(array.dtype, np.floating) or not (np.all(array >= 0) and np.all(array <= 1)):
            raise InputError(f"an array of {array.dtype} must be uint8, or floats in [0, 1]", "divide pixels by 255")
        if array.shape != (height, width, channels):
            raise InputError(f"an array of floats has shape {array.shape}, not {height, width, channels}", "give uint8")
        return torch.from_numpy(array.transpose(2, 0, 1).astype(np.float32)).unsqueeze(0)

    def predict(self, images: Any) -> list[Prediction]:
        """What the network says of each image.

        `images` is a tensor or array [B, C, H, W], uint8 or floats in [0, 1], or what `preprocess` takes. Raises InputError.
        """
        if isinstance(images, np.ndarray) and images.ndim == 4:
            images = torch.from_numpy(np.ascontiguousarray(images))
        if isinstance(images, Tensor) and images.ndim == 4:
            if images.shape[1:] != (self.shape.channels, self.shape.height, self.shape.width):
                raise InputError(f"images of shape {tuple(images.shape[1:])} are not the network's", f"it takes {self.shape}")
            pixels = images.to(torch.float32) / LARGEST_PIXEL if images.dtype == torch.uint8 else images
        else:
            pixels = self.preprocess(images)
        return predictions(self.scores_of(pixels), self.classes)

    @torch.no_grad()
    def scores_of(self, images: Tensor) -> Tensor:
        """The class scores of images float32 [B, C, H, W] in [0, 1], any number of them, or uint8; [B, J]."""
        return torch.cat([self(as_floats(batch)) for batch in images.split(BATCH)])


def as_tested(network: CapsNet | LeNet5, run: RunRow) -> CapsNet | LeNet5:
    """The network with the precision and the convolution algorithms with which its run tested it."""
    if isinstance(network, CapsNet):
        network.work_type = torch.bfloat16 if run.precision == "bfloat16" else None
        network.algorithms = algorithms_from_dict(run.algorithms or {})
    return network


def as_floats(images: Tensor) -> Tensor:
    """Images in [0, 1]: uint8 pixels are divided by the largest one."""
    return images.to(torch.float32) / LARGEST_PIXEL if images.dtype == torch.uint8 else images


def predictions(scores: Iterable[Tensor] | Tensor, classes: Sequence[str]) -> list[Prediction]:
    """What scores [B, J] say, by class name."""
    return list(_each(scores, classes))


def _each(scores: Iterable[Tensor], classes: Sequence[str]) -> Iterator[Prediction]:
    for row in scores:
        label = int(row.argmax())
        rest = row.clone()
        rest[label] = -torch.inf
        second = int(rest.argmax())
        yield Prediction(
            label=label,
            name=classes[label],
            score=float(row[label]),
            second=classes[second],
            second_score=float(row[second]),
            scores=tuple(map(float, row)),
        )
