"""A stack of networks is that many networks; shapes and channels are the papers'."""

from functools import partial

import pytest
import torch
from torch import nn

from deepcv.errors import InputError
from deepcv.model.networks import SkipNetwork, StackedConv2d, StackedInstanceNorm2d, UNet


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


SHALLOW = {
    "unet": partial(UNet, width=3, levels=1),
    "skip": partial(SkipNetwork, widths=[3]),
}


@pytest.mark.parametrize(
    "architecture",
    [*(partial(UNet, width=3, levels=levels) for levels in (0, 1, 2)), partial(SkipNetwork, widths=[3, 4])],
    ids=["unet 0", "unet 1", "unet 2", "skip 2"],
)
def test_a_stack_of_networks_is_the_same_networks_one_by_one(architecture):
    x = random(3, 2, 13, 11).double()
    together = architecture(2, 4, seeds=[7, 1, 7]).double()
    for index, seed in enumerate([7, 1, 7]):
        alone = architecture(2, 4, seeds=[seed]).double()
        torch.testing.assert_close(together(x)[index], alone(x[index : index + 1])[0])


@pytest.mark.parametrize("architecture", SHALLOW.values(), ids=SHALLOW)
def test_a_network_of_the_stack_gets_its_gradient_from_its_own_image_only(architecture):
    network = architecture(1, 1, seeds=[0, 1, 2])
    network(random(3, 1, 8, 8))[1].square().sum().backward()
    for parameter in network.parameters():
        assert (parameter.grad[[0, 2]] == 0).all()
    assert any((parameter.grad[1] != 0).any() for parameter in network.parameters())


def test_convolution_is_torchs_with_the_same_weights_and_its_default_bounds():
    stacked = StackedConv2d(3, 5, 3, generators(4))
    plain = nn.Conv2d(3, 5, 3, padding=1)
    with torch.no_grad():
        plain.weight.copy_(stacked.weight[0])
        plain.bias.copy_(stacked.bias[0])
    x = random(1, 3, 9, 10)
    torch.testing.assert_close(stacked(x), plain(x))
    for ours, theirs in ((stacked.weight, nn.Conv2d(3, 5, 3).weight), (stacked.bias, nn.Conv2d(3, 5, 3).bias)):
        assert max(ours.abs().max(), theirs.abs().max()) <= 1 / 27**0.5
    assert stacked.weight.std().item() == pytest.approx(1 / 81**0.5, rel=0.15)  # of a uniform distribution over ±1/√27


def test_instance_norm_is_batch_norm_on_a_batch_of_one():
    stacked = StackedInstanceNorm2d(4, 1)
    plain = nn.BatchNorm2d(4)
    with torch.no_grad():
        for ours, theirs in ((stacked.weight, plain.weight), (stacked.bias, plain.bias)):
            ours.copy_(random(*ours.shape))
            theirs.copy_(ours[0])
    x = 5 + 3 * random(1, 4, 8, 9, seed=1)
    torch.testing.assert_close(stacked(x), plain(x))


@pytest.mark.parametrize("size", [(16, 32), (33, 35), (47, 20), (16, 47)])
def test_any_size_of_2_to_the_levels_and_twice_that_comes_out_as_it_went_in(size):
    out = UNet(3, 2, seeds=[0, 1], width=2, levels=4)(random(2, 3, *size))
    assert out.shape == (2, 2, *size) and torch.isfinite(out).all()


def test_an_image_too_small_to_be_halved_so_often_is_refused():
    network = UNet(1, 1, seeds=[0], width=1, levels=4)
    with pytest.raises(InputError, match=r"40×15 pixels.* halved 4 times.*enlarge its sides.* to at least 32"):
        network(random(1, 1, 40, 15))
    with pytest.raises(InputError, match=r"31×31 pixels.* halved 4 times"):  # one pixel would be left to normalise
        network(random(1, 1, 31, 31))


def test_channels_are_the_papers_at_width_64_and_4_levels():
    with torch.device("meta"):  # nothing is allocated; a generator can't draw there, so its weights are empty
        network = _without_weights(UNet, 3, 1, width=64, levels=4, seeds=[0])
    widths = [block.convolutions[1].weight.shape[1] for block in (network.entry, *network.down)]
    assert widths == [64, 128, 256, 512, 512]
    into = [block.convolutions[0].weight.shape[2] for block in network.up]
    assert into == [512 + 512, 256 + 256, 128 + 128, 64 + 64]
    assert [block.convolutions[1].weight.shape[1] for block in network.up] == [256, 128, 64, 64]
    assert network.exit.weight.shape == (1, 1, 64, 1, 1)


def _without_weights(network, *arguments, **options):
    """Built on the meta device, where random numbers are shapes only and a CPU generator is not taken."""
    draw = torch.rand
    torch.rand = lambda shape, generator=None: torch.empty(shape)
    try:
        return network(*arguments, **options)
    finally:
        torch.rand = draw


@pytest.mark.parametrize("architecture", SHALLOW.values(), ids=SHALLOW)
def test_the_seed_decides_the_weights(architecture):
    one, same, other = (architecture(1, 1, seeds=[seed]) for seed in (5, 5, 6))
    for a, b, c in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert len(a.unique()) == 1 or not torch.equal(a, c)  # scales and shifts start at 1 and 0 everywhere
    assert not torch.equal(one.exit.weight, other.exit.weight)


@pytest.mark.parametrize(("depth", "size"), [(2, (5, 5)), (3, (32, 24)), (4, (33, 47)), (5, (33, 70))])
def test_skip_network_of_any_depth_gives_any_size_back(depth, size):
    out = SkipNetwork(3, 2, widths=[2] * depth, seeds=[0, 1])(random(2, 3, *size))
    assert out.shape == (2, 2, *size) and torch.isfinite(out).all()


def test_an_image_too_small_for_the_skip_networks_depth_is_refused():
    network = SkipNetwork(1, 1, widths=[1] * 4, seeds=[0])
    with pytest.raises(InputError, match=r"40×16 pixels.* halved 4 times.*enlarge its sides.* to at least 32"):
        network(random(1, 1, 40, 16))


def test_the_loss_of_a_skip_network_reaches_all_its_weights():
    network = SkipNetwork(3, 2, widths=[3, 3, 3], seeds=[4])
    network(random(1, 3, 21, 26)).square().sum().backward()
    convolutions = [module for module in network.modules() if isinstance(module, StackedConv2d)]
    assert len(convolutions) == 3 * (2 + 1 + 2) + 1
    for convolution in convolutions:
        assert convolution.weight.grad.abs().amax(dim=(0, 2, 3, 4)).min() > 0


@pytest.mark.parametrize("across", [0, 4])
def test_skip_connections_carry_what_the_way_down_loses(across):
    network = SkipNetwork(1, 1, widths=[2], across=across, seeds=[0])
    with torch.no_grad():  # a way down that loses everything
        network.down[0][0].weight.zero_()
    one, other = network(random(1, 1, 8, 8)), network(random(1, 1, 8, 8, seed=1))
    assert torch.allclose(one, other) == (across == 0)


def test_a_smooth_activation_makes_a_network_whose_gradient_checks():
    network = UNet(1, 1, seeds=[3], width=2, levels=0, activation=torch.sigmoid).double()
    assert torch.autograd.gradcheck(network, (random(1, 1, 4, 4).double().requires_grad_(),))


def test_without_levels_a_pixel_sees_only_its_neighbourhood():
    network = UNet(1, 1, seeds=[0], width=2, levels=0, activation=torch.sigmoid)
    # the norms see the whole image, so they are left out of this question
    for block in network.modules():
        if hasattr(block, "norms"):
            block.norms = nn.ModuleList(nn.Identity() for _ in block.norms)
    x = random(1, 1, 15, 15).requires_grad_()
    network(x)[0, 0, 7, 7].backward()
    expected = torch.zeros(15, 15, dtype=torch.bool)
    expected[5:10, 5:10] = True  # two 3×3 convolutions
    assert torch.equal(x.grad[0, 0] != 0, expected)
