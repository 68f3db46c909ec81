"""Double-DIP does what its authors' code does, to images of any size, and a stack of it is as many images alone."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from deepcv.baselines import double_dip as module
from deepcv.baselines.double_dip import (
    EncoderDecoder,
    Noise,
    Problem,
    Settings,
    State,
    confident,
    double_dip,
    double_dip_batch,
    iterate,
    margins,
    pad,
    pose,
    refined,
    separate,
    unpad,
)
from deepcv.errors import InputError
from deepcv.images import as_image
from deepcv.metrics import iou

QUICK = {"first_steps": 4, "second_steps": 5, "ramp": 10}


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def textures(shape=(30, 60), seed=0):
    """Stripes of two colours on the left, plain with noise on the right; where the left is, and a rough hint of it."""
    rows, columns = np.indices(shape)
    inside = columns < 0.45 * shape[1]
    stripes = np.where(rows // 4 % 2, 0.75, 0.45)[..., None] * [1.0, 0.6, 0.3]
    image = np.where(inside[..., None], stripes, [0.25, 0.35, 0.6])
    image = np.clip(image + np.random.default_rng(seed).normal(0, 0.03, image.shape), 0, 1)
    return image, inside, np.clip(1 - columns / shape[1] + 0.1 * np.sin(rows / 3), 0, 1)


def problem(size=32, count=2, seeds=(4, 5)):
    where = (random(2, count, 1, size, size, seed=3) < 0.2).float()
    return Problem(random(count, 3, size, size), where[0], where[1] * (1 - where[0]), list(seeds[:count]))


def posed(image, hint, seed=0, **settings):
    return pose(as_image(image), hint.astype(np.float32), Settings(**settings), seed, "cpu")


def released_network(outputs):
    """The authors' encoder-decoder, in the modules of torch and the order in which they run."""

    def convolution(before, after, kernel, stride=1):
        padding = {"padding": kernel // 2, "padding_mode": "reflect"}
        return [nn.Conv2d(before, after, kernel, stride, **padding), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]

    layers = []
    for before, width in ((2, 8), (8, 16), (16, 32)):
        layers += [*convolution(before, width, 3, stride=2), *convolution(width, width, 3)]
    for below, width in ((32, 32), (32, 16), (16, 8)):
        layers += [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.BatchNorm2d(below)]
        layers += [*convolution(below, width, 3), *convolution(width, width, 1)]
    return nn.Sequential(*layers, nn.Conv2d(8, outputs, 1), nn.Sigmoid())


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_network_is_the_authors(outputs):
    ours, theirs = EncoderDecoder(2, outputs, [7]), released_network(outputs)
    parameters = list(ours.exit.parameters())
    parameters = [each for blocks in (ours.down, ours.up) for each in blocks.parameters()] + parameters
    with torch.no_grad():
        for mine, other in zip(parameters, theirs.parameters(), strict=True):
            other.copy_(mine[0])
            assert mine.shape[1:] == other.shape
    x = random(1, 2, 32, 64)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_a_stack_of_networks_is_the_same_networks_one_by_one():
    x = random(3, 2, 32, 32).double()
    together = EncoderDecoder(2, 3, [7, 1, 7]).double()(x)
    for index, seed in enumerate([7, 1, 7]):
        alone = EncoderDecoder(2, 3, [seed]).double()(x[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone)


def test_the_composite_is_left_where_the_mask_is_1_and_right_where_it_is_0():
    left, right, mask = random(2, 3, 8, 8), random(2, 3, 8, 8, seed=1), random(2, 1, 8, 8, seed=2)
    torch.testing.assert_close(module.composite(left, right, mask), mask * left + (1 - mask) * right)
    assert torch.equal(module.composite(left, right, torch.ones_like(mask)), left)
    assert torch.equal(module.composite(left, right, torch.zeros_like(mask)), right)


def test_losses_are_the_released_ones():
    given = problem()
    left, right, mask = random(2, 3, 32, 32, seed=5), random(2, 3, 32, 32, seed=6), random(2, 1, 32, 32, seed=7)
    first = module.first_loss(left, right, mask, given)
    hinted = module.second_loss(left, right, mask, given, torch.tensor(0.004), True)
    unhinted = module.second_loss(left, right, mask, given, torch.tensor(0.004), False)
    for b in range(2):
        image, m = given.image[b].permute(1, 2, 0).numpy(), mask[b, 0].numpy()
        front, back = left[b].permute(1, 2, 0).numpy(), right[b].permute(1, 2, 0).numpy()
        sure_front, sure_back = given.foreground[b, 0].numpy() == 1, given.background[b, 0].numpy() == 1
        hint = abs(front - image)[sure_front].mean() + abs(back - image)[sure_back].mean()
        target = np.where(sure_front, 1.0, np.where(sure_back, 0.0, 0.5))
        np.testing.assert_allclose(first[b], hint + abs(m - target).mean(), rtol=1e-5)
        error = abs(m[..., None] * front + (1 - m[..., None]) * back - image).mean()
        np.testing.assert_allclose(unhinted[b], 0.5 * error + 0.004 / abs(m - 0.5).mean(), rtol=1e-5)
        np.testing.assert_allclose(hinted[b] - unhinted[b], hint, rtol=1e-4)


def test_the_psnr_is_scikit_images():
    from skimage.metrics import peak_signal_noise_ratio

    one, other = random(2, 3, 9, 8), random(2, 3, 9, 8, seed=1)
    expected = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(module.peak_signal_to_noise(one, other), expected, rtol=1e-5)


def test_jitter_and_exclusion_grow_in_the_released_stairs(monkeypatch):
    deviations, weights, hinted = [], [], []
    monkeypatch.setattr(Noise, "draw", lambda self, deviation: deviations.append(deviation))
    monkeypatch.setattr(module, "Descent", lambda loss, *rest: lambda: record(loss.args[-1]))

    def record(loss):
        options = getattr(loss, "keywords", {})
        weights.append(float(options.get("exclusion", -1)))
        hinted.append(options.get("hinted"))
        return [torch.zeros(1)] * 3

    for _ in iterate(problem(count=1), Settings()):
        pass
    assert len(deviations) == 6000 and set(weights[:2000]) == {-1.0} and set(hinted[:2000]) == {None}
    for start in (0, 2000):
        steps = [0, 99, 100, 950, 999, 1000, 1999]
        np.testing.assert_allclose([deviations[start + k] for k in steps], [0, 0, 1e-3, 9e-3, 9e-3, 1e-3, 1e-3])
    assert deviations[-1] == 0 and deviations[-2] == 1e-3
    np.testing.assert_allclose(
        [weights[2000 + k] for k in (0, 99, 100, 999, 1000, 3999)], [0, 0, 1e-3, 9e-3, 1e-2, 1e-2]
    )
    assert hinted[2000:3001] == [True] * 1001 and hinted[3001:] == [False] * 2999


def test_left_and_right_share_their_noise_and_no_two_networks_their_jitter():
    noise = Noise(problem())
    noise.draw(0.0)
    left, right, mask = noise.value.unflatten(0, (2, 3)).unbind(1)
    assert torch.equal(left, right) and not torch.equal(left, mask) and not torch.equal(left[0], left[1])
    assert 0.0049 < noise.value.abs().max() <= 0.005
    noise.draw(1e-3)
    jitter = noise.value - noise.fixed
    assert jitter.std().item() == pytest.approx(1e-3, rel=0.05)
    assert np.abs(np.corrcoef(jitter.flatten(1)) - np.eye(6)).max() < 0.1
    before = noise.value.clone()
    noise.draw(1e-3)
    assert not torch.equal(before, noise.value)


def states(psnrs):
    """States of two images whose mask is the iteration's number."""
    for step, values in enumerate(psnrs):
        yield State(torch.full((2, 1, 2, 2), float(step)), torch.zeros(2), torch.tensor(values))


def masks_of(monkeypatch, psnrs, first_steps=2):
    settings = Settings(first_steps=first_steps, second_steps=len(psnrs) - first_steps)
    monkeypatch.setattr(module, "iterate", lambda *_: states(psnrs))
    masks, traces = separate(problem(), settings, False)
    return masks[:, 0, 0].tolist(), [trace["psnr"] for trace in traces]


def test_an_image_keeps_its_first_mask_beyond_the_target_while_its_neighbour_goes_on(monkeypatch):
    masks, psnrs = masks_of(monkeypatch, [(31.0, 9.0), (20.0, 9.0), (29.0, 10.0), (30.5, 11.0), (33.0, 12.0)])
    assert masks == [3, 4]
    assert psnrs == [[31.0, 20.0, 29.0, 30.5], [9.0, 9.0, 10.0, 11.0, 12.0]]


def test_without_the_target_the_last_mask_counts_unless_that_of_step_1_fits_better(monkeypatch):
    assert masks_of(monkeypatch, [(9.0, 9.0), (20.0, 20.0), (25.0, 25.0), (19.0, 20.0)])[0] == [1, 3]


def test_it_stops_soon_after_all_have_reached_the_target(monkeypatch):
    monkeypatch.setattr(module, "_CHECKED_EVERY", 3)
    psnrs = [(9.0, 9.0)] * 2 + [(31.0, 9.0), (31.0, 31.0)] + [(35.0, 35.0)] * 9
    taken = []
    counted = (taken.append(each) or each for each in states(psnrs))
    monkeypatch.setattr(module, "iterate", lambda *_: counted)
    separate(problem(), Settings(first_steps=2, second_steps=11), False)
    assert len(taken) == 6


def test_two_textures_are_separated_from_a_rough_hint():
    image, inside, hint = textures()
    assert hint.min() < 0.05 and iou(hint > 0.5, inside) < 0.95
    quick = {"first_steps": 80, "second_steps": 80, "ramp": 40, "learning_rate": 1e-2, "guided_filter": None}
    found = double_dip(image, hint, device="cpu", **quick)
    assert iou(found.mask, inside) > 0.95
    assert len(found.trace["psnr"]) == len(found.trace["loss"]) <= 160
    assert found.trace["psnr"][-1] > found.trace["psnr"][0] + 5


def test_the_seed_decides():
    image, _, hint = textures()
    first, same, other = (double_dip(image, hint, seed=s, device="cpu", **QUICK) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.memberships, same.memberships)
    assert not np.array_equal(first.memberships, other.memberships)
    assert first.settings == dataclasses.asdict(Settings(**QUICK)) | {"seed": 1} and first.method == "double-dip"


def test_a_batch_of_any_sizes_is_its_images_one_by_one():
    pictures = [textures(shape, seed) for seed, shape in enumerate([(30, 60), (25, 50), (60, 30), (30, 60)])]
    images, hints, seeds = [each[0] for each in pictures], [each[2] for each in pictures], [3, 1, 2, 3]
    quick = {"first_steps": 3, "second_steps": 3, "ramp": 2, "device": "cpu"}
    together = double_dip_batch(images, hints, seeds=seeds, **quick)
    for image, hint, seed, found in zip(images, hints, seeds, together, strict=True):
        alone = double_dip(image, hint, seed=seed, **quick)
        assert found.labels.shape == image.shape[:2]
        assert (found.mask != alone.mask).mean() < 0.01
        np.testing.assert_allclose(found.trace["loss"], alone.trace["loss"], rtol=1e-4)


@pytest.mark.parametrize("shape", [(8, 9), (32, 64), (33, 31), (95, 97)])
def test_padding_mirrors_to_multiples_of_32_and_is_taken_away_exactly(shape):
    array = np.random.default_rng(0).random((*shape, 3))
    padded = pad(array)
    assert padded.shape[0] % 32 == padded.shape[1] % 32 == 0
    assert all(0 <= after - before <= 1 and before + after < 32 for before, after in margins(shape))
    np.testing.assert_array_equal(unpad(padded[..., 1], shape), array[..., 1])
    (top, bottom), _ = margins(shape)
    if bottom:
        np.testing.assert_array_equal(padded[top + shape[0]], padded[top + shape[0] - 2])


@pytest.mark.parametrize("size", [None, 24])
@pytest.mark.parametrize("shape", [(8, 8), (33, 45)])
def test_the_mask_has_the_images_size_whatever_the_networks_work_at(shape, size):
    image, _, hint = textures(shape)
    found = double_dip(image[..., 0], hint, size=size, device="cpu", **QUICK)
    assert found.labels.shape == shape and np.isfinite(found.memberships).all()
    assert posed(image, hint, size=size).image.shape[-2:] == ((32, 32) if size or shape == (8, 8) else (64, 64))


def test_the_hint_is_sure_of_the_ends_of_its_equalised_histogram():
    ramp = np.linspace(0.2, 0.7, 4096, dtype=np.float32).reshape(64, 64)
    foreground, background = confident(ramp)
    assert foreground.mean() == pytest.approx(1 / 16, abs=0.01) and foreground.flat[-1]
    assert background.mean() == pytest.approx(1 / 16, abs=0.01) and background.flat[0]
    mask = ramp > 0.6
    foreground, background = confident(mask.astype(np.float32))
    np.testing.assert_array_equal(foreground, mask)
    np.testing.assert_array_equal(background, ~mask)


@pytest.mark.parametrize("level", [0.1, 0.98])
def test_a_hint_without_confident_pixels_is_refused(level):
    image, _, hint = textures()
    side = "foreground" if level < 0.5 else "background"
    with pytest.raises(InputError, match=rf"hint, between .* has no pixel that is surely {side}; stretch it"):
        double_dip(image, level + 0.001 * hint, **QUICK)


def test_the_released_filter_has_the_image_in_0_to_1_and_the_textbook_one_in_0_to_255():
    import cv2

    image, inside, _ = textures((32, 64))
    image, soft = as_image(image), np.where(np.roll(inside, 5, axis=1), 0.9, 0.2).astype(np.float32)
    results = {name: refined(image, soft, Settings(guided_filter=name)) for name in ("released", "textbook", None)}
    np.testing.assert_array_equal(results[None], soft)
    for name, guide in (("released", image), ("textbook", np.rint(255 * image).astype(np.uint8))):
        expected = cv2.ximgproc.guidedFilter(guide, soft, 50, 1e-4)
        np.testing.assert_allclose(results[name], np.clip(expected, 0, 1), atol=1e-6)
    assert abs(results["released"] - results["textbook"]).max() > 0.05


@pytest.mark.parametrize("filter_", ["released", "textbook"])
@pytest.mark.parametrize("colour", [True, False])
def test_flat_regions_leave_the_filtered_mask_finite(filter_, colour):
    image = np.full((32, 32), 0.2, np.float32)
    image[8:20, 8:20] = 0.9
    image = np.repeat(image[..., None], 3, axis=2) if colour else image
    soft = random(32, 32).numpy()
    assert np.isfinite(refined(image, soft, Settings(guided_filter=filter_))).all()


def test_an_image_too_small_is_refused():
    with pytest.raises(InputError, match="7×20 pixels; both sides must have at least 8"):
        double_dip(np.random.default_rng(0).random((7, 20, 3)), **QUICK)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"size": 7}, "size is 7; it must be a whole number of at least 8"),
        ({"first_steps": 0}, "first_steps is 0"),
        ({"second_steps": 1.5}, "second_steps is 1.5"),
        ({"ramp": 0}, "ramp is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"jitter": -1e-3}, "jitter is -0.001"),
        ({"exclusion": float("inf")}, "exclusion is inf"),
        ({"target_psnr": "high"}, "target_psnr is 'high'"),
        ({"guided_filter": "opencv"}, "guided_filter is 'opencv'; it must be 'released' or 'textbook', or None"),
        ({"steps": 3}, "no setting 'steps'; there are exclusion"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, named):
    image, _, hint = textures()
    with pytest.raises(InputError, match=named):
        double_dip(image, hint, **changes)


def test_each_image_needs_its_seed_and_hint():
    image, _, hint = textures()
    with pytest.raises(InputError, match="1 seeds for 2 images"):
        double_dip_batch([image, image], [hint, hint], seeds=[0])
    with pytest.raises(InputError, match="1 hints for 2 images"):
        double_dip_batch([image, image], [hint], seeds=[0, 1])
