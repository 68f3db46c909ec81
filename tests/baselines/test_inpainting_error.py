"""Inpainting error maximisation: the inpainter, the objective and its symmetry, and what the steps find."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deepcv.baselines import inpainting_error
from deepcv.baselines.inpainting_error import (
    Blur,
    boundary,
    centre_square,
    inpaint,
    inpainting_error_maximization,
    maximize,
    objective,
    smooth,
    step,
)
from deepcv.errors import InputError
from deepcv.metrics import iou

CPU = torch.device("cpu")


def striped_disk(shape=(48, 60), noise=0.05, seed=0):
    """A disk with stripes on a ground with checks of another colour."""
    rows, columns = np.indices(shape)
    inside = np.hypot(rows - 0.45 * shape[0], columns - 0.55 * shape[1]) < 0.28 * min(shape)
    stripes = np.where((columns // 2 % 2)[..., None], [0.9, 0.5, 0.2], [0.6, 0.4, 0.1])
    checks = np.where(((rows // 2 + columns // 2) % 2)[..., None], [0.2, 0.5, 0.7], [0.3, 0.6, 0.8])
    image = np.where(inside[..., None], stripes, checks) + np.random.default_rng(seed).normal(0, noise, (*shape, 3))
    return np.clip(image, 0, 1).astype(np.float32), inside


def problem(batch=2, shape=(17, 23), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = 2 * torch.rand(batch, 3, *shape, generator=generator) - 1
    coarse = torch.rand(batch, 1, 4, 4, generator=generator)
    mask = F.interpolate(coarse, shape, mode="bilinear")[:, 0] > 0.5
    return image, mask, Blur(shape, 2.0, 5, 2, CPU)


def test_blur_is_the_convolution_with_a_gaussian_as_often_as_said():
    image = torch.rand(2, 3, 14, 19, generator=torch.Generator().manual_seed(1))
    kernel = torch.exp(-0.5 * (torch.arange(-3, 4) / 1.7) ** 2)
    kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
    expected = image
    for _ in range(3):
        expected = F.conv2d(expected.flatten(0, 1)[:, None], kernel[None, None], padding=3).view_as(image)
    torch.testing.assert_close(Blur((14, 19), 1.7, 7, 3, CPU)(image), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("known", ["few", "one", "all"])
def test_inpainting_of_a_constant_is_that_constant(known):
    weights = torch.zeros(1, 1, 40, 30)
    chosen = {"few": (slice(0, 5), slice(20, 30)), "one": (39, 0), "all": (slice(None), slice(None))}[known]
    weights[:, :, chosen[0], chosen[1]] = 1
    colour = torch.tensor([0.3, -0.8, 1.0]).view(1, 3, 1, 1).expand(1, 3, 40, 30)
    filled = inpaint(colour, weights, Blur((40, 30), 5.0, 11, 2, CPU))
    torch.testing.assert_close(filled, colour, atol=1e-5, rtol=1e-5)


def test_inpainting_looks_at_near_pixels_and_takes_the_mean_where_there_is_none():
    image = torch.zeros(1, 1, 8, 60)
    image[..., 30:] = 1
    known = torch.zeros(1, 1, 8, 60)
    known[..., :3], known[..., 50:51] = 1, 1
    filled = inpaint(image, known, Blur((8, 60), 3.0, 7, 2, CPU))[0, 0, 4]
    assert filled[5] < 1e-3 and filled[47] > 0.999
    assert filled[25] == pytest.approx(1 / 4, abs=1e-4)  # out of reach of both: 24 known zeros and 8 ones


def test_inpainting_never_sees_what_is_not_known():
    image, mask, blur = problem()
    known = mask[:, None].float()
    changed = torch.where(mask[:, None], image, -image)
    torch.testing.assert_close(inpaint(changed, known, blur), inpaint(image, known, blur), atol=0, rtol=0)


def test_objective_is_the_sum_in_its_equation():
    image, mask, blur = problem(batch=1)
    pixels = image[0].numpy().transpose(1, 2, 0).astype(float)
    expected = 0.0
    for side in (mask[0].numpy(), ~mask[0].numpy()):
        filled = inpaint(image, torch.from_numpy(~side)[None, None].float(), blur)[0].numpy().transpose(1, 2, 0)
        expected += np.abs(pixels - filled)[side].mean()
        expected -= 0.01 * 128**2 / side.size * ((pixels[side] - pixels[side].mean(axis=0)) ** 2).sum()
    assert float(objective(image, mask[:, None].float(), blur, 0.01)) == pytest.approx(expected, rel=1e-4)


def test_diversity_weighs_the_same_at_every_size():
    image, mask, blur = problem()
    larger = torch.kron(image, torch.ones(2, 2)), torch.kron(mask[:, None].float(), torch.ones(2, 2))
    small = objective(image, mask[:, None].float(), blur, 0.01) - objective(image, mask[:, None].float(), blur, 0)
    blur = Blur(tuple(larger[0].shape[-2:]), 2.0, 5, 2, CPU)
    torch.testing.assert_close(
        objective(*larger, blur, 0.01) - objective(*larger, blur, 0), small, rtol=1e-4, atol=1e-4
    )


def test_foreground_and_background_are_alike_but_for_the_smoothing(monkeypatch):
    image, mask, blur = problem()
    value = objective(image, mask[:, None].float(), blur, 0.01)
    torch.testing.assert_close(objective(image, 1 - mask[:, None].float(), blur, 0.01), value)
    assert torch.equal(boundary(mask), boundary(~mask))
    monkeypatch.setattr(inpainting_error, "smooth", lambda moved: moved)
    _, moved = step(image, mask, blur, 0.01)
    _, swapped = step(image, ~mask, blur, 0.01)
    assert torch.equal(swapped, ~moved) and not torch.equal(moved, mask)


def test_only_the_boundary_moves_and_there_as_the_slope_says(monkeypatch):
    image, mask, blur = problem()
    monkeypatch.setattr(inpainting_error, "smooth", lambda moved: moved)
    _, moved = step(image, mask, blur, 0.01)
    assert not (moved != mask)[~boundary(mask)].any()
    value = objective(image, mask[:, None].float(), blur, 0.01)
    row, column = np.argwhere((moved != mask)[0].numpy())[0]
    nudged = mask[:, None].float()
    nudged[0, 0, row, column] += 1e-2 if moved[0, row, column] else -1e-2
    assert objective(image, nudged, blur, 0.01)[0] > value[0]


def test_boundary_and_smoothing_by_hand():
    mask = torch.zeros(1, 5, 6, dtype=torch.bool)
    mask[0, 1:4, 2:5] = True
    edge = torch.ones_like(mask)  # the frame and all that touches the square's edge
    edge[0, 2, 3] = False
    assert torch.equal(boundary(mask), edge)
    # corners of a 3×3 square have 4 set among 9, a lone pixel has 1
    assert torch.equal(smooth(mask), mask)
    assert not smooth(torch.eye(7)[None] > 0).any()


def test_the_objective_rises_from_start_to_end():
    for seed in range(3):
        image, _ = striped_disk(seed=seed)
        values = inpainting_error_maximization(image, device="cpu").trace["objective"]
        assert values[-1] > values[0] and np.mean(np.diff(values) >= 0) > 0.8
        assert values[-1] >= max(values) - 0.02 * (max(values) - values[0])


@pytest.mark.arithmetic
@pytest.mark.parametrize("start", ["centre", "hint"])
def test_a_disk_of_another_texture_is_found(start):
    image, inside = striped_disk()
    hint = np.roll(inside, (6, -7), axis=(0, 1)).astype(float)
    assert iou(hint > 0, inside) < 0.6
    found = inpainting_error_maximization(image, hint, start=start, device="cpu")
    assert iou(found.mask, inside) > 0.93
    assert found.method == "iem" and found.settings["start"] == start


def test_the_foreground_is_the_side_that_the_start_says():
    image, inside = striped_disk()
    found = inpainting_error_maximization(image, (~inside).astype(float), start="hint", device="cpu")
    assert iou(found.mask, ~inside) > 0.93


def test_the_objective_is_that_of_the_image_from_minus_one_to_one():
    image, inside = striped_disk((24, 30))
    found = inpainting_error_maximization(image, inside.astype(float), start="hint", device="cpu")
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] * 2 - 1
    mask = torch.from_numpy(inside)[None, None].float()
    expected = objective(pixels, mask, Blur((24, 30), 5.0, 11, 2, CPU), 0.001)
    assert found.trace["objective"][0] == pytest.approx(float(expected), rel=1e-4)


def test_a_settled_mask_ends_it_and_stays():
    image, _ = striped_disk()
    found = inpainting_error_maximization(image, device="cpu")
    steps = len(found.trace["objective"]) - 1
    assert steps < 150
    longer = inpainting_error_maximization(image, device="cpu", iterations=steps + 20)
    np.testing.assert_array_equal(found.mask, longer.mask)
    shorter = inpainting_error_maximization(image, device="cpu", iterations=3)
    assert len(shorter.trace["objective"]) == 4


def test_a_step_that_would_empty_a_side_is_not_taken():
    image, _, blur = problem(batch=1)
    lone = torch.zeros(1, 17, 23, dtype=torch.bool)
    lone[0, 8, 11] = True
    image[:] = 0.1
    image[..., 8, 11] = 0.9
    value, moved = step(image, lone, blur, 0.0)
    assert torch.isfinite(value).all() and torch.equal(moved, lone)


def test_a_batch_is_its_images_one_by_one():
    image, mask, blur = problem(batch=3)
    together, values = maximize(image, mask, blur, 0.01, iterations=8)
    for index in range(3):
        alone, own = maximize(image[index : index + 1], mask[index : index + 1], blur, 0.01, iterations=8)
        assert torch.equal(alone[0], together[index])
        torch.testing.assert_close(own[:, 0], values[: len(own), index])


def test_a_large_image_is_worked_at_the_size_asked_for_and_comes_back_whole(monkeypatch):
    image, inside = striped_disk((96, 120))
    image = np.repeat(image.mean(axis=2), 2, axis=1)
    inside = np.repeat(inside, 2, axis=1)
    shapes = []
    monkeypatch.setattr(
        inpainting_error,
        "centre_square",
        lambda shape: shapes.append(shape) or centre_square(shape),
    )
    found = inpainting_error_maximization(image, size=32, device="cpu")
    assert shapes == [(32, 80)] and found.mask.shape == (96, 240)
    inpainting_error_maximization(image, size=500, iterations=1, device="cpu")
    assert shapes[1] == (96, 240)
    square = centre_square((10, 21))
    assert square[2:8, 4:17].all() and square.sum() == 6 * 13


def test_a_long_image_is_bounded_and_others_are_as_their_shorter_side_says(monkeypatch):
    shapes = []
    stop = pytest.raises(ZeroDivisionError)
    monkeypatch.setattr(inpainting_error, "centre_square", lambda shape: shapes.append(shape) or 1 / 0)
    for shape in ((16, 6000), (200, 800), (16, 400), (300, 200)):
        with stop:
            inpainting_error_maximization(np.random.default_rng(0).random(shape), device="cpu")
    assert shapes == [(8, 512), (128, 512), (16, 400), (192, 128)]
    image = np.where(np.indices((16, 600))[1] > 300, 0.8, 0.2)
    monkeypatch.setattr(inpainting_error, "centre_square", centre_square)
    assert inpainting_error_maximization(image, size=16, iterations=2, device="cpu").mask.shape == (16, 600)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"start": "corner"}, "start is 'corner'; it must be 'centre' or 'hint'"),
        ({"size": 4}, "size is 4; it must be a whole number of at least 8"),
        ({"iterations": 0}, "iterations is 0"),
        ({"kernel_size": 10}, "kernel_size is 10; it must be odd"),
        ({"kernel_size": 1}, "kernel_size is 1"),
        ({"passes": 0}, "passes is 0"),
        ({"width": 0.0}, r"width is 0\.0"),
        ({"diversity": -1.0}, r"diversity is -1\.0"),
        ({"start": "hint", "hint": np.eye(5)}, "resize the hint"),
        ({"device": "tpu"}, "there is no device 'tpu' here"),
    ],
)
def test_input_out_of_range_is_named(options, named):
    image, _ = striped_disk()
    with pytest.raises(InputError, match=named):
        inpainting_error_maximization(image, **options)
