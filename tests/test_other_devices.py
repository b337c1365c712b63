"""What devices other than a CPU run, as far as a CPU can tell: on the meta device, which has shapes and strides but no numbers.

The meta device takes the same way through the network as a GPU. It refuses views that strides do not permit, and whatever waits
for a number: a captured step must not wait.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastrcaps_dse.capsnet.network import Precision, build_network
from fastrcaps_dse.capsnet.routing import digit_capsules
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data import Split
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer.images import epoch_images
from fastrcaps_dse.trainer.steps import GraphSteps

META = torch.device("meta")
SHAPE = ImageShape(channels=1, height=28, width=28, classes=10)
DESIGNS = [
    DesignPoint(weight_sharing=weight_sharing, decoder=decoder)
    for weight_sharing in (False, True)
    for decoder in ("full", "small")
] + [DesignPoint(network="lenet5")]


def images_on_meta(count: int) -> Split:
    return Split(
        images=torch.empty(count, 1, 28, 28, dtype=torch.uint8, device=META),
        labels=torch.empty(count, dtype=torch.int64, device=META),
    )


def steps_on_meta(point: DesignPoint, precision: Precision) -> GraphSteps:
    """The steps with everything that they read on the device; Adam, which has no meta form with a learning rate there, is left out."""
    steps = GraphSteps(
        build_network(point, SHAPE, precision), torch.device("cpu"), Split(images=torch.empty(1), labels=torch.empty(1))
    )
    steps.network, steps.device = steps.network.to(META), META
    given = images_on_meta(50)
    steps.images, steps.labels = given.images, given.labels
    steps.rates, steps.lr, steps.sums = (torch.empty(size, device=META) for size in ((50,), (), (2,)))
    steps.first, steps.step = (torch.empty((), dtype=torch.int64, device=META) for _ in range(2))
    steps.optimizer = torch.optim.SGD(steps.network.parameters(), lr=1e-3)
    return steps


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("point", DESIGNS, ids=lambda point: point.label)
def test_a_step_needs_no_number_and_no_other_layout(point: DesignPoint, precision: Precision, batch_size: int) -> None:
    steps = steps_on_meta(point, precision)
    steps._step_on_next(batch_size)
    for name, p in steps.network.named_parameters():
        assert p.grad is not None and p.grad.shape == p.shape and p.grad.dtype == torch.float32, name
    with pytest.raises(RuntimeError, match="item"):  # what waits is seen
        steps.sums.sum().item()


@pytest.mark.parametrize("point", DESIGNS, ids=lambda point: point.label)
def test_evaluation(point: DesignPoint) -> None:
    network = build_network(point, SHAPE).to(META)
    assert network.scores(torch.empty(500, 1, 28, 28, device=META)).shape == (500, 10)


def test_the_images_of_an_epoch_stay_on_the_device() -> None:
    shown = epoch_images(images_on_meta(50), seed=0, epoch=1, shift=2, flip=True)
    assert shown.images.device == META and shown.images.shape == (50, 1, 28, 28) and shown.labels.shape == (50,)


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("shared", [False, True])
def test_routing_takes_what_a_convolution_gives(
    shared: bool, batch: int, layout: Literal["channels_last", "contiguous"]
) -> None:
    """The layouts of a library's convolution give the same values and gradients, bit for bit, as one without gaps."""
    generator = torch.Generator().manual_seed(0)
    types, positions = 4, (2, 3)
    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    weight = torch.randn(types * 8, 6, 3, 3, generator=generator).contiguous(memory_format=memory)
    x = torch.randn(batch, 6, 4, 5, generator=generator).contiguous(memory_format=memory)
    s_BMhw = F.conv2d(x, weight)
    assert s_BMhw.shape[2:] == positions and s_BMhw.is_contiguous(memory_format=memory)
    W = torch.randn(types if shared else types * 6, 10, 16, 8, generator=generator)
    bias = torch.randn(10, 16, generator=generator)

    routed = partial(digit_capsules, types=types, iterations=3)  # of routing

    def results(s_PBM: Tensor) -> list[Tensor]:
        given = [tensor.detach().requires_grad_() for tensor in (s_PBM, W, bias)]
        v = routed(given[0], given[1], given[2])
        return [v, *torch.autograd.grad((v * v.detach().cos()).sum(), given)]

    s_PBM = s_BMhw.permute(2, 3, 0, 1).flatten(0, 1)
    for found, right in zip(results(s_PBM), results(s_PBM.contiguous()), strict=True):
        assert torch.equal(found, right)
