"""Affine copies of images: the warp against permutations, a slow reference and closed forms; their parameters."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from fastrcaps_dse.data import affine
from fastrcaps_dse.data.splits import Split


def some_images(count: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(count + 10 * height + width)
    return torch.randint(0, 256, (count, channels, height, width), generator=generator, dtype=torch.uint8)


def warped(images: Tensor, *rows: tuple[float, ...]) -> Tensor:
    """Images under the transformations of parameters, one row for each or one for all."""
    parameters = torch.tensor(rows, dtype=torch.float64).expand(len(images), 6)
    return affine.warp(images, *affine.matrices(parameters))


SIZES = [(1, 28, 28), (3, 17, 17), (1, 18, 25), (3, 24, 19)]


@pytest.mark.parametrize("size", SIZES)
def test_nothing_and_whole_pixels(size: tuple[int, int, int]) -> None:
    images = some_images(3, *size)
    assert torch.equal(warped(images, (0, 1, 1, 0, 0, 0)), images)
    for down, right in [(1, 0), (0, -1), (-2, 2), (5, -3), (100, 0)]:
        expected = torch.zeros_like(images)
        for y, x in itertools.product(range(size[1]), range(size[2])):
            if 0 <= y - down < size[1] and 0 <= x - right < size[2]:
                expected[:, :, y, x] = images[:, :, y - down, x - right]
        assert torch.equal(warped(images, (0, 1, 1, 0, down, right)), expected)


@pytest.mark.parametrize("side", [17, 28])
def test_quarter_turns_are_permutations(side: int) -> None:
    images = some_images(2, 3, side, side)
    for turns in (-1, 1, 2, 3):
        assert torch.equal(warped(images, (90 * turns, 1, 1, 0, 0, 0)), torch.rot90(images, turns, dims=(2, 3)))


@pytest.mark.parametrize("size", SIZES)
def test_the_warp_is_the_slow_one(size: tuple[int, int, int]) -> None:
    """For each pixel: the inverse of the matrices multiplied one by one, and the four neighbors by their distances."""
    images = some_images(3, *size)
    parameters = affine.affine_parameters(3, 1, 7)
    expected = torch.zeros(images.shape, dtype=torch.float64)
    height, width = size[1:]
    for n, (angle, scale_y, scale_x, shear, down, right) in enumerate(parameters.tolist()):
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        across = torch.tensor([[1.0, 0.0], [shear, 1.0]], dtype=torch.float64)
        back = torch.linalg.inv(turn @ across @ torch.diag(torch.tensor([scale_y, scale_x], dtype=torch.float64)))
        for y, x in itertools.product(range(height), range(width)):
            from_center = torch.tensor([y - (height - 1) / 2 - down, x - (width - 1) / 2 - right], dtype=torch.float64)
            at = back @ from_center
            row, column = float(at[0]) + (height - 1) / 2, float(at[1]) + (width - 1) / 2
            for j, i in itertools.product((math.floor(row), math.floor(row) + 1), (math.floor(column), math.floor(column) + 1)):
                if 0 <= j < height and 0 <= i < width:
                    expected[n, :, y, x] += (1 - abs(row - j)) * (1 - abs(column - i)) * images[n, :, j, i]
    assert (warped_all := affine.warp(images, *affine.matrices(parameters))).float().std() > 20
    assert (warped_all - expected).abs().max() <= 0.5 + 1e-9


def test_scale_and_shear_of_a_ramp() -> None:
    """A plane stays a plane: its value where the inverse map comes from."""
    y, x = torch.meshgrid(torch.arange(21) - 10, torch.arange(21) - 10, indexing="ij")
    ramp = (128 + 6 * x + 2 * y).to(torch.uint8)[None, None]
    inner = (slice(None), slice(None), slice(6, 15), slice(6, 15))
    wider = warped(ramp, (0, 1, 1.2, 0, 0, 0)).double()
    assert ((wider - (128 + 6 * x / 1.2 + 2 * y))[inner].abs() <= 0.5 + 1e-9).all()
    lower = warped(ramp, (0, 0.8, 1, 0, 0, 0)).double()
    assert ((lower - (128 + 6 * x + 2 * y / 0.8))[inner].abs() <= 0.5 + 1e-9).all()
    sheared = warped(ramp, (0, 1, 1, 0.2, 0, 0)).double()
    assert ((sheared - (128 + 6 * (x - 0.2 * y) + 2 * y))[inner].abs() <= 0.5 + 1e-9).all()
    turned = warped(ramp, (20, 1, 1, 0, 0, 0)).double()
    cos, sin = math.cos(math.radians(20)), math.sin(math.radians(20))
    assert ((turned - (128 + 6 * (cos * x - sin * y) + 2 * (cos * y + sin * x)))[inner].abs() <= 0.5 + 1e-9).all()


def test_parameters_are_uniform_and_belong_to_an_index() -> None:
    many = affine.affine_parameters(4000, 0, 1)
    low, high = many.min(dim=0).values, many.max(dim=0).values
    assert low.tolist() == pytest.approx([-20, 0.8, 0.8, -0.2, -2, -2], abs=0.03)
    assert high.tolist() == pytest.approx([20, 1.2, 1.2, 0.2, 2, 2], abs=0.03)
    standard = (many - (low + high) / 2) / (high - low) * math.sqrt(12)
    assert standard.mean(dim=0).abs().max() < 0.06 and (standard.std(dim=0) - 1).abs().max() < 0.03
    assert (torch.corrcoef(standard.T) - torch.eye(6, dtype=torch.float64)).abs().max() < 0.06
    assert torch.equal(affine.affine_parameters(10, 0, 1), many[:10])  # however many images there are
    for other in (affine.affine_parameters(10, 1, 1), affine.affine_parameters(10, 0, 2)):
        assert (other != many[:10]).all()
    of_today = [
        -7.857278627729656,
        1.1394834998743106,
        0.8624539112173892,
        -0.18755742521824958,
        1.6010738124496742,
        -1.7917333297998272,
    ]
    assert affine.affine_parameters(1, 0, 1).tolist() == [of_today]


@pytest.mark.parametrize("images, copies", [(1, 8), (333, 8), (700, 7), (1000, 5), (1667, 3), (3334, 1), (10_000, 1)])
def test_a_small_set_has_more_copies(images: int, copies: int) -> None:
    assert affine.copy_count(images) == copies


def test_copies_repeat_themselves_and_do_not_depend_on_other_images(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(images=some_images(12, 1, 20, 20), labels=torch.arange(12))
    copies = [*affine.affine_copies(split, "selecting")]
    monkeypatch.setattr(affine, "VALUES", 5 * 20 * 20)
    again = [*affine.affine_copies(split, "selecting")]
    assert len(copies) == 8 and all(torch.equal(a.images, b.images) for a, b in zip(copies, again, strict=True))
    assert all(torch.equal(copy.labels, split.labels) for copy in copies)
    assert all((a.images != b.images).any() for a, b in itertools.combinations(copies, 2))
    mixed = split.subset(torch.tensor([3, 1, 2, 0, *range(4, 12)]))
    moved = [*affine.affine_copies(mixed, "selecting")]
    assert all(
        torch.equal(a.images[[1, 2, *range(4, 12)]], b.images[[1, 2, *range(4, 12)]])
        for a, b in zip(copies, moved, strict=True)
    )
    tested = [*affine.affine_copies(split, "test")]
    assert all((a.images != b.images).any() for a, b in zip(copies, tested, strict=True))
