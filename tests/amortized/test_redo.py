"""ReDO redraws one region and keeps the other; its losses have the minima they should have."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from deepcv.amortized import redo
from deepcv.amortized.redo import Model, Settings
from deepcv.amortized.segmenter import Segmenter, as_input
from deepcv.errors import InputError

SMALL = {"width": 8, "generator_width": 4, "mask_width": 4, "latent": 3}
TINY = Settings(size=32, **SMALL, batch=2)


@pytest.fixture(scope="module")
def model():
    return Model(TINY, seed=0)


@pytest.fixture(scope="module")
def image():
    return torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0)) * 2 - 1


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_the_other_region_is_kept_and_the_redrawn_one_depends_on_z(model, image):
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 8:20, 5:15] = 1
    first, second = (redo.redrawn(model.generators, image, mask, z).images[0] for z in normal(2, 2, 2, 3))
    kept = (mask == 0).expand_as(image)
    assert torch.equal(first[kept], image[kept]) and torch.equal(second[kept], image[kept])
    assert not torch.allclose(first[~kept], second[~kept], atol=1e-3)
    assert first[~kept].abs().max() <= 1


def test_an_empty_region_leaves_the_image_alone_so_z_cannot_be_found_in_it(model, image):
    empty = torch.zeros(2, 1, 32, 32)
    assert torch.equal(redo.redrawn(model.generators, image, empty, normal(2, 2, 3)).images[0], image)


def test_the_encoder_sees_both_regions_redrawn_and_nothing_of_the_photograph(model, image):
    model.eval()  # no power iteration, which would change the generators
    sees = []
    watch = model.encoder.register_forward_pre_hook(lambda _, inputs: sees.append(*inputs))
    z = normal(2, 2, 3)
    redo.generator_losses(model, image, z)
    watch.remove()
    mask = model.mask(image)
    drawn = [
        generator(region, each) for generator, region, each in zip(model.generators, (mask, 1 - mask), z, strict=True)
    ]
    torch.testing.assert_close(sees, [sum(drawn)])


@pytest.mark.parametrize("size", [32, 64])
def test_model_fit_the_image_and_every_weight_is_trained(size):
    model = Model(Settings(size=size, **SMALL))
    image, z = torch.rand(2, 3, size, size) * 2 - 1, normal(2, 2, 3)
    mask = model.mask(image)
    assert mask.shape == (2, 1, size, size) and mask.min() > 0 and mask.max() < 1
    assert model.generators[0](mask, z[0]).shape == image.shape
    losses = redo.generator_losses(model, image, z)
    (losses.adversary + losses.latent + redo.discriminator_loss(model, image, z, image)).backward()
    still = [name for name, each in model.named_parameters() if each.grad is None]
    assert not still
    assert 0 < losses.area <= 0.5


def test_the_same_seed_gives_the_same_model_and_leaves_the_callers_random_numbers_alone():
    before = torch.random.get_rng_state()
    one, same, other = (Model(TINY, seed=seed).mask.down[0].weight for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_spectral_normalisation_bounds_the_discriminators_layers(model):
    model.train()
    for _ in range(20):  # its power iteration goes one step a call
        model.discriminator(normal(1, 3, 32, 32))
    weight = model.discriminator.blocks[0].one.weight.detach()
    assert torch.linalg.matrix_norm(weight.flatten(1), 2) == pytest.approx(1, abs=0.02)


def test_a_discriminator_that_is_sure_and_right_has_no_hinge_loss(image):
    sure = Model(TINY, seed=0)
    sure.discriminator = torch.nn.Module()
    for answer, loss in ((2.0, 0), (-2.0, 6)):  # above 1 for photographs and below -1 for the others; the reverse
        sure.discriminator.forward = lambda x, answer=answer: (
            (answer if torch.equal(x, image) else -answer) * x[:, :1] ** 0
        )
        assert redo.discriminator_loss(sure, image, normal(2, 2, 3), image) == loss


def test_the_discriminator_compares_with_the_photographs_of_the_step_before(monkeypatch):
    model, seen = Model(TINY, seed=0), []
    batches = torch.randint(0, 256, (3, 2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(redo, "discriminator_loss", lambda _, x, z, photographs: seen.append(photographs) or z.sum())

    def step(images):
        model.step(images, None, lambda *_: None, lambda shape: normal(2, *shape), None)

    for images in batches[:2]:
        step(images)
    model.train()  # begins an epoch, perhaps in another process: nothing of the last one is there
    step(batches[2])
    assert torch.equal(torch.stack(seen), torch.stack([as_input(batches[i]) for i in (0, 0, 2)]))


def test_spectral_normalisation_is_where_the_authors_have_it(model):
    """All convolutions, no linear layer; the mask network has none."""
    for name, part in model.named_children():
        for each in part.modules():
            if isinstance(each, nn.Conv2d | nn.Linear):
                assert is_parametrized(each) == (name != "mask" and isinstance(each, nn.Conv2d))


def test_mask_network_alone_has_its_own_rate_and_decay(model):
    drawing, judging = model.optimizers().values()
    assert [group["lr"] for group in drawing.param_groups] == [1e-5, 1e-4]
    assert [group["weight_decay"] for group in drawing.param_groups] == [1e-4, 0]
    counted = sum(len(group["params"]) for group in drawing.param_groups + judging.param_groups)
    assert counted == len(list(model.parameters()))


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"size": 100}, "size is 100; it must be 32, 64 or 128"),
        ({"width": 12}, "width is 12"),
        ({"latent": 0}, "latent is 0; it must be a whole number of at least 1"),
        ({"latent_weight": float("nan")}, "latent_weight is nan"),
    ],
)
def test_settings_out_of_range_are_refused(changes, named):
    with pytest.raises(InputError, match=named):
        Settings(**changes)


def test_a_network_of_an_older_version_is_refused(model, tmp_path):
    """Its residual blocks had two normalisations, and its pyramid as many channels as its first layer."""
    model.as_segmenter(1, {}).save(tmp_path / "old.safetensors")
    with safe_open(tmp_path / "old.safetensors", framework="pt") as file:
        about, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    weights["pyramid.0.weight"] = weights["pyramid.0.weight"].repeat(TINY.mask_width, 1, 1, 1)
    save_file(weights, tmp_path / "old.safetensors", about)
    with pytest.raises(InputError, match="doesn't contain the network it describes; train or copy it again"):
        Segmenter.load(tmp_path / "old.safetensors")
