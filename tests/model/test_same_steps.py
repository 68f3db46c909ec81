"""The solver takes the same steps, bit for bit, as before the package was laid out anew.

`same_steps.json` has hashes of all states of the loop: memberships, latent image, energy. They were taken at commit
f7881a2, before the first module moved, or on the Intel at e36b995, before the solver was rewritten. Bits depend on
processor, instruction set and build of torch, so hashes are compared if `arithmetic()` is one of those recorded;
otherwise the first step's energies are, in which rounding has not been amplified yet.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deepcv.data import load_dataset
from deepcv.images import as_image, resize
from deepcv.model.segment import pose
from deepcv.model.settings import Settings
from deepcv.model.solver import iterate
from deepcv.provenance import cpu_name

RECORDED = json.loads(Path(__file__).with_name("same_steps.json").read_text())

SMALL = {"size": 48, "width": 4}
LOOP = {"u_step": "gradient", "levels": 2, "steps": 12, "latent_unit": 1.0, "hint_weight": 0.0, "nu": 1.0} | SMALL
CASES = {
    "our default then": {"size": 64},
    "learned variance, two samples": {"learned_variance": True, "samples": 2, "rounds": 2} | SMALL,
    "skip network": {"architecture": "skip", "levels": 2, "rounds": 2} | SMALL,
    "Algorithm 1": LOOP,
    "Algorithm 1, warm-up, arctan": LOOP | {"warmup": 5, "relaxation": "arctan", "channel_mean": True},
    "three phases": {"phases": 3, "rounds": 2} | SMALL,
    "Algorithm 2": {"phases": 3, "u_step": "gradient", "steps": 12} | SMALL,
}
IMAGES = ("coins", "coffee", "modes-ring")


def arithmetic() -> str:
    """What the bits of a floating-point sum depend on."""
    return ", ".join((cpu_name(), torch.backends.cpu.get_cpu_capability(), f"torch {torch.__version__.split('+')[0]}"))


def steps(image: str, case: str) -> tuple[str, dict[str, float]]:
    """A hash over all states of the loop, and the energies after the first step."""
    samples = load_dataset("samples")
    pixels = resize(as_image(samples[samples.names.index(image)].image), (96, 128))
    rows, columns = np.indices((96, 128), np.float32)
    hint = np.exp(-(((rows - 48) / 40) ** 2) - ((columns - 64) / 50) ** 2)
    settings = Settings(decoder=True, **CASES[case])
    digest, first = hashlib.sha256(), {}
    for state in iterate(pose(pixels, hint, settings, seed=3, device="cpu"), settings):
        for tensor in (state.memberships, state.latent_mean, *(state.energy[name] for name in sorted(state.energy))):
            digest.update(tensor.contiguous().numpy().tobytes())
        first = first or {name: float(value) for name, value in state.energy.items()}
    return digest.hexdigest(), first


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("image", [pytest.param("coins", marks=pytest.mark.arithmetic), *IMAGES[1:]])
@pytest.mark.parametrize("case", CASES)
def test_the_solver_takes_the_steps_it_took(case, image):
    digest, first = steps(image, case)
    for there in RECORDED.values():
        for name, value in there[case][image]["first"].items():
            # the largest difference between the instruction sets of RECORDED is 3e-7 of the value
            assert first[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name
    if arithmetic() in RECORDED:
        assert digest == RECORDED[arithmetic()][case][image]["sha256"]
