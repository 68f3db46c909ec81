"""Algorithm 3's terms and steps, which side is the foreground, and the file that holds a trained U."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepcv.amortized import model as amortized
from deepcv.amortized import redo
from deepcv.amortized.model import Augmentation, Model
from deepcv.amortized.segmenter import FORMAT, VERSION, Segmenter, as_input
from deepcv.amortized.settings import Settings, Trained, resolve_trained, settings_for
from deepcv.errors import InputError
from deepcv.model.networks import Discriminator, UNet

TINY = {"size": 16, "levels": 2, "width": 4, "model_width": 4, "discriminator_width": 4, "batch": 3}


def settings(**changes):
    return Settings(**TINY | changes)


def pictures(count=3, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8))


@pytest.fixture
def x():
    return as_input(pictures())


def draw(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn((3, *shape), generator=generator)


# -- the networks ------------------------------------------------------------------------------------------------------


def test_a_shared_network_sees_each_image_of_a_batch_by_itself(x):
    network = UNet(3, 2, width=4, levels=2, seeds=[1], shared=True)
    together = network(x)
    assert together.shape == (3, 2, 16, 16)
    for i in range(3):
        torch.testing.assert_close(network(x[i : i + 1])[0], together[i], atol=1e-5, rtol=1e-4)


def test_a_shared_network_is_the_network_of_one_image(x):
    """Same seed, same weights; normalised by groups here, as one batch there."""
    shared, alone = (UNet(3, 1, width=4, levels=2, seeds=[5], shared=each) for each in (True, False))
    torch.testing.assert_close(shared(x[:1]), alone(x[:1]), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="one seed, not 2"):
        UNet(3, 1, width=4, levels=2, seeds=[0, 1], shared=True)


def test_the_discriminator_has_the_papers_channels_and_gives_a_number_an_image():
    network = Discriminator(width=32, levels=5, seed=0)
    convolutions = [layer for layer in network.convolutions if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [32, 64, 128, 256, 512]
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2,)


def test_presets_have_the_networks_of_the_paper_and_of_the_released_code():
    paper, released = (preset(**TINY) for preset in (Settings.paper, Settings.released))
    assert (paper.hint, paper.invariance, paper.conservation, paper.latent_mean) == ("", True, True, 3.0)
    assert (Settings.paper().width, Settings.paper().batch, Settings.paper().learning_rate) == (64, 128, 1e-3)
    counts = [sum(isinstance(each, UNet) for each in Model(preset, 0).modules()) for preset in (paper, released)]
    assert counts == [3, 5]


def test_presets_change_what_the_paper_says_otherwise_and_no_more():
    default, paper, released = (dataclasses.asdict(each()) for each in (Settings, Settings.paper, Settings.released))
    widths, regularised = {"width": 64, "model_width": 64}, {"hint": "", "conservation": True, "joint": False}
    training = {"distortion": 0.0, "batch": 128, "learning_rate": 1e-3, "decay": False, "restarts": 0}
    assert paper == default | widths | regularised | training
    assert released == paper | {"separate_encoders": True, "separate_decoders": True, "channel_mean": True}


def test_settings_of_the_training_may_be_given_beside_those_of_the_method():
    found = resolve_trained(Settings, {"images": 5, "size": 64, "training": {"batch": 4}})
    assert found == Trained(images=5, training=Settings(size=64, batch=4))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 16, "levels": 4}, "size is 16, which can't be halved 4 times; choose at least 32"),
        ({"epochs": 0}, "epochs is 0"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"hint_weight": -1.0}, "hint_weight is -1.0; it must be a finite number of at least 0"),
        ({"invariance_weight": float("nan")}, "invariance_weight is nan"),
        ({"conservation_weight": -0.5}, "conservation_weight is -0.5"),
        ({"least_area": 0.6}, "least_area is 0.6; it must be a finite number from 0 to 0.5"),
        ({"joint": "no"}, "joint is 'no'; it must be True or False"),
    ],
)
def test_settings_out_of_range_are_named(changes, said):
    with pytest.raises(InputError, match=said):
        Settings(**changes)


def test_a_profile_changes_any_preset_and_is_overruled_by_what_is_given():
    assert settings_for("paper", "cpu", size=32).size == 32
    assert settings_for("paper", "cpu").hint == ""
    assert settings_for("default", "paper") == Settings()
    with pytest.raises(InputError, match=r"no profile 'fast'; there are quick, cpu, paper"):
        settings_for("default", "fast")


# -- the terms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("released", [False, True])
def test_the_model_terms_are_those_of_the_energy(x, released):
    """(4.9) and (3.14) written out, over the number of pixels."""
    model = Model(settings(separate_decoders=released, separate_encoders=released, channel_mean=released), 0)
    u, noise = torch.rand(3, 16, 16), torch.randn(3, 1, 16, 16)
    mean, variance = model.encode(x)
    decoded = model.decode(mean + variance.sqrt() * noise, u)
    expected = 0.5 * ((decoded - x) ** 2).sum() / (x.numel() if released else x[:, 0].numel())
    foreground, background = (0.5 * (-variance.log() - 1 + variance + (mean - mu) ** 2)[:, 0] for mu in (3, -3))
    kl = (u * foreground + (1 - u) * background).mean()
    found = model.elbo_loss(x, u, noise)
    torch.testing.assert_close(torch.stack(found), torch.stack((expected, kl)))


def test_with_two_decoders_each_region_is_decoded_by_its_own(x):
    model = Model(settings(separate_decoders=True), 0)
    z = torch.randn(3, 1, 16, 16)
    everything = torch.ones(3, 16, 16)
    torch.testing.assert_close(model.decode(z, everything), model.decoders[0](z))
    torch.testing.assert_close(model.decode(z, 1 - everything), model.decoders[1](z))


def test_the_augmentations_are_the_three_rotations_each_flipped_or_not(x):
    generator = torch.Generator().manual_seed(0)
    drawn = {Augmentation.draw(generator) for _ in range(200)}
    assert drawn == {Augmentation(turns, flipped) for turns in (1, 2, 3) for flipped in (False, True)}
    seen = {tuple(each(x[0, 0]).flatten().tolist()) for each in drawn}
    assert len(seen) == 6  # a half turn is no flip
    assert tuple(x[0, 0].flatten().tolist()) not in seen


def test_invariance_costs_the_least_where_u_commutes_with_the_augmentations(x, monkeypatch):
    """A pixelwise U commutes; then (4.10) is U's own entropy, the least that a cross-entropy to it can be."""
    model = Model(settings(), 0)
    monkeypatch.setattr(model, "logits", lambda images: 3 * images.mean(dim=1))
    u = model.memberships(x)
    entropy = -(u * u.log() + (1 - u) * (1 - u).log()).mean()
    for turns in (1, 2, 3):
        for flipped in (False, True):
            torch.testing.assert_close(model.invariance_loss(x, u, Augmentation(turns, flipped)), entropy)
    monkeypatch.setattr(model, "logits", lambda images: 3 * images[:, 0] * torch.linspace(0, 1, 16))
    u = model.memberships(x)
    entropy = -(u * u.log() + (1 - u) * (1 - u).log()).mean()
    assert model.invariance_loss(x, u, Augmentation(1, False)) > entropy + 0.05


def gradients(module):
    return [parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters()]


def test_conservation_moves_u_alone_and_the_discriminators_loss_the_discriminator_alone(x):
    model = Model(settings(conservation=True), 0)
    latent = [torch.randn(3, 1, 16, 16) + mu for mu in (3, -3)]
    model.conservation_loss(model.memberships(x), *latent).backward()
    assert any(gradients(model.segmenter))
    assert not any(gradients(model.decoders) + gradients(model.discriminator))
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.zero_grad(set_to_none=True)
    model.discriminator_loss(x, *latent).backward()
    assert any(gradients(model.discriminator))
    assert not any(gradients(model.decoders) + gradients(model.segmenter))


class Mean(torch.nn.Module):
    """A discriminator that takes the brighter image for the realer one."""

    def forward(self, x):
        return x.mean(dim=(1, 2, 3))


@pytest.fixture
def plain(monkeypatch):
    """A model that decodes a latent image to itself, in three channels."""
    model = Model(settings(conservation=True), 0)
    model.discriminator = Mean()
    monkeypatch.setattr(model, "decode", lambda z, u: z.expand(-1, 3, -1, -1))
    return model


def test_the_discriminator_is_to_tell_real_images_from_pure_ones(plain, x):
    """(4.11) written out: real high, decoded foreground and background low."""
    foreground, background = torch.full((3, 1, 16, 16), 2.0), torch.full((3, 1, 16, 16), -1.0)
    real = x.mean(dim=(1, 2, 3)).sigmoid().log()
    pure = sum((-torch.tensor(each).sigmoid()).log1p() for each in (2.0, -1.0))
    torch.testing.assert_close(plain.discriminator_loss(x, foreground, background), -(real.mean() + pure))


def test_conservation_wants_the_composite_to_look_real(plain):
    """(4.12) written out, with u = 1 for the foreground's latent image."""
    foreground, background = torch.full((3, 1, 16, 16), 2.0), torch.full((3, 1, 16, 16), -1.0)
    u = torch.zeros(3, 16, 16)
    u[..., :4] = 1
    expected = -torch.tensor(0.25 * 2 - 0.75 * 1).sigmoid().log()
    torch.testing.assert_close(plain.conservation_loss(u, foreground, background), expected)


def test_the_target_of_the_invariance_is_held_fixed(x):
    augmentation = Augmentation(1, True)
    found = []
    for hold in (lambda u: u, torch.Tensor.detach):
        model = Model(settings(), 0)
        model.invariance_loss(x, hold(model.memberships(x)), augmentation).backward()
        found.append([parameter.grad for parameter in model.segmenter.parameters()])
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.arithmetic
def test_the_joint_step_descends_the_weighted_sum_of_what_it_reports(monkeypatch):
    chosen = settings(conservation=True, hint_weight=5.0, invariance_weight=3.0, conservation_weight=2.0)
    model, given, latents = Model(chosen, 0), {}, []
    monkeypatch.setattr(model, "conservation_loss", lambda u, *pair: latents.extend(pair) or u.mean())
    hints = torch.full((3, 16, 16), 255, dtype=torch.uint8)
    losses = model.step(pictures(), hints, given.__setitem__, lambda shape: torch.zeros(3, *shape), torch.Generator())
    weights = {"reconstruction": 1, "kl": 1, "hint": 5, "invariance": 3, "conservation": 2}
    torch.testing.assert_close(given["model"], sum(weight * losses[name] for name, weight in weights.items()))
    assert [each.unique().tolist() for each in latents] == [[3.0], [-3.0]]


# -- an iteration ------------------------------------------------------------------------------------------------------


def one_step(chosen, hints=None):
    """The losses of a step, and the optimisers that moved, in order."""
    model = Model(chosen, 0)
    optimizers, moved = model.optimizers(), []

    def descend(name, loss):
        moved.append(name)
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()

    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = model.step(pictures(), hints, descend, draw(), torch.Generator().manual_seed(0))
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    return losses, moved, changed


@pytest.mark.arithmetic
def test_the_papers_iteration_makes_the_steps_of_algorithm_3_in_its_order():
    losses, moved, changed = one_step(Settings.paper(**TINY))
    assert moved == ["model", "invariance", "discriminator", "conservation"]
    assert changed == {"segmenter", "encoders", "decoders", "discriminator"}
    assert set(losses) == {"reconstruction", "kl", "invariance", "discriminator", "conservation", "area"}


@pytest.mark.parametrize("invariance", [False, True])
@pytest.mark.parametrize("conservation", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_each_constraint_has_its_switch(invariance, conservation, joint):
    losses, moved, changed = one_step(settings(invariance=invariance, conservation=conservation, joint=joint, hint=""))
    assert ("invariance" in losses, "conservation" in losses) == (invariance, conservation)
    assert ("discriminator" in changed) == conservation
    assert len(moved) == 1 + conservation + (not joint) * (invariance + conservation)


# -- other views of the training images --------------------------------------------------------------------------------


AS_IT_IS = torch.tensor([-np.log(0.7) / np.log(1.15 / 0.7), *[0.5] * 7], dtype=torch.float32)


def test_what_is_drawn_can_leave_an_image_as_it_is_and_exchange_its_sides(x):
    hints = x[:, 0].clamp(0, 1)
    seen, taught = amortized.distorted(x, hints, AS_IT_IS.repeat(3, 1))
    torch.testing.assert_close(seen, x, atol=1e-4, rtol=0)
    torch.testing.assert_close(taught, hints, atol=1e-4, rtol=0)
    exchanged = AS_IT_IS.repeat(3, 1)
    exchanged[:, 7] = 1
    torch.testing.assert_close(amortized.distorted(x, None, exchanged)[0], x.flip(-1), atol=1e-4, rtol=0)


def test_what_is_seen_is_a_part_of_the_image_as_large_as_drawn():
    """A ramp across the image, from -1 at one edge to 1 at the other, shows which part it is."""
    ramp = ((torch.arange(64) + 0.5) / 32 - 1).repeat(1, 3, 64, 1)
    drawn = AS_IT_IS[None].clone()
    drawn[0, 0] = 0
    torch.testing.assert_close(amortized.distorted(ramp, None, drawn)[0], 0.7 * ramp, atol=1e-5, rtol=0)
    drawn[0, 2] = 1
    torch.testing.assert_close(amortized.distorted(ramp, None, drawn)[0], 0.7 * ramp + 0.1, atol=1e-5, rtol=0)


@pytest.mark.parametrize("place", range(8))
def test_a_hint_goes_where_its_image_goes_and_keeps_its_values(place):
    """A disc, white on black, whose hint is the disc itself: moved alike, only the image changes its light."""
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 2, indexing="ij")
    disc = (4 * (0.3 - ((rows - 0.1) ** 2 + (columns - 0.2) ** 2).sqrt())).sigmoid()[None]
    drawn = AS_IT_IS[None].clone()
    drawn[0, place] = 1.0
    seen, taught = amortized.distorted((2 * disc - 1)[:, None].repeat(1, 3, 1, 1), disc, drawn)
    if place in (4, 5):  # brightness and contrast
        torch.testing.assert_close(taught, disc, atol=1e-4, rtol=0)
        assert (seen - (2 * disc - 1)).abs().max() > 0.1
    else:
        torch.testing.assert_close((seen[:, 0] + 1) / 2, taught, atol=1e-4, rtol=0)
        assert ((taught - disc).abs().max() > 0.01) == (place != 6)  # grey has no saturation


def test_at_strength_0_images_are_at_most_mirrored(x):
    seen, _ = amortized.distorted(x, None, torch.rand(3, 8), strength=0.0)
    for image, each in zip(x, seen, strict=True):
        assert min((each - image).abs().max(), (each - image.flip(-1)).abs().max()) < 1e-5
    with pytest.raises(InputError, match="distortion is -1"):
        settings(distortion=-1)


# -- which side is the foreground --------------------------------------------------------------------------------------


def test_the_foreground_is_what_is_rarer_on_the_frame():
    u = np.zeros((4, 16, 16), np.float32)
    u[:, 4:12, 4:12] = 1
    u[0] = 0  # decided over the collection, not image by image
    assert amortized.foreground_phase(u) == 1
    assert amortized.foreground_phase(1 - u) == 0


def test_a_collapse_is_told_by_the_smaller_side_whichever_it_is():
    half = np.zeros((2, 8, 8))
    half[:, :4] = 1
    assert amortized.smaller_side(half) == 0.5
    for u in (np.zeros((2, 8, 8)), np.ones((2, 8, 8)), np.stack([np.zeros((8, 8)), np.ones((8, 8))])):
        assert amortized.smaller_side(u) == 0


# -- the file ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def segmenter():
    return Model(settings(), 7).as_segmenter(1, {"data": "made up", "seed": 7})


@pytest.fixture
def path(segmenter, tmp_path):
    segmenter.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_a_saved_network_gives_the_same_memberships_and_keeps_its_card(segmenter, path, x):
    loaded = Segmenter.load(path)
    assert torch.equal(loaded.memberships(x), segmenter.memberships(x))
    assert (loaded.size, loaded.foreground, loaded.card) == (16, 1, {"data": "made up", "seed": 7})


def test_in_half_precision_it_is_half_as_large_and_nearly_the_same(segmenter, path, x, tmp_path):
    segmenter.save(tmp_path / "half.safetensors", half=True)
    weights = sum(parameter.numel() for parameter in segmenter.network.parameters())
    assert path.stat().st_size - (tmp_path / "half.safetensors").stat().st_size == pytest.approx(2 * weights, rel=0.05)
    loaded = Segmenter.load(tmp_path / "half.safetensors")
    torch.testing.assert_close(loaded.memberships(x), segmenter.memberships(x), atol=5e-3, rtol=0)


def test_the_side_that_is_the_foreground_goes_with_the_file(segmenter, x):
    other = dataclasses.replace(segmenter, foreground=0)
    torch.testing.assert_close(other.memberships(x), 1 - segmenter.memberships(x))


def test_masks_have_their_images_sizes_in_their_order_whatever_is_beside_them(path):
    rng = np.random.default_rng(0)
    shapes = [(20, 30), (40, 24, 3), (20, 30), (16, 16, 3)]
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    segmenter = Segmenter.load(path)
    found = segmenter.predict(images, batch=2)
    assert [each.labels.shape for each in found] == [shape[:2] for shape in shapes]
    for image, each in zip(images, found, strict=True):
        (alone,) = segmenter.predict([image])
        np.testing.assert_allclose(alone.memberships, each.memberships, atol=1e-5)


def test_a_file_cut_short_of_another_version_or_kind_is_a_sentence(path, tmp_path):
    whole = path.read_bytes()
    for length in (0, 5, 200, len(whole) - 100):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"model\.safetensors is truncated or not a model"):
            Segmenter.load(path)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is not a deepcv model"):
        Segmenter.load(tmp_path / "other.safetensors")
    about = {"format": FORMAT, "version": "99", "about": json.dumps({})}
    save_file({"a": torch.zeros(1)}, tmp_path / "later.safetensors", about)
    with pytest.raises(InputError, match=r"version 99 of the format, but this deepcv reads 1"):
        Segmenter.load(tmp_path / "later.safetensors")
    about = {"format": FORMAT, "version": VERSION, "about": json.dumps({"size": 16})}
    save_file({"a": torch.zeros(1)}, tmp_path / "edited.safetensors", about)
    with pytest.raises(InputError, match="doesn't contain the network it describes"):
        Segmenter.load(tmp_path / "edited.safetensors")
    with pytest.raises(InputError, match="deepcv train"):
        Segmenter.load(tmp_path / "absent.safetensors")


def test_masks_bear_the_name_of_the_method_whose_network_made_them(segmenter):
    other = redo.Model(redo.Settings(size=32, width=8, mask_width=4, latent=3), 0).as_segmenter(1, {})
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert [each.predict([image])[0].method for each in (segmenter, other)] == ["amortized", "redo"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code from a file was run",))


def test_a_pickled_file_is_refused_and_not_run(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="truncated or not a model"):
        Segmenter.load(tmp_path / "model.safetensors")
