"""Settings of the saliency map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from deepcv.checks import Checked, Count, NonNegative, Positive, at_least, between

NOTICEABLE_NOISE = 0.05
"""Standard deviation, for pixels in [0, 1], from which an image counts as noisy; above that of all Weizmann images."""


@dataclass(frozen=True)
class SaliencySettings(Checked):
    """Constants of the saliency map: from [34], or "fitted" on 20 Weizmann images."""

    longest_side: Count = 300  # pixels; about the size of the paper's images, and fit for the filters' wavelengths
    smallest_longest_side: Count = 128  # pixels; smaller images are enlarged, or superpixels would be single pixels
    superpixels: tuple[Count, ...] = (150, 250, 400)  # [34]: 250 alone; three gain 0.004 in F and double the time
    noticeable_noise: Positive = NOTICEABLE_NOISE
    denoising: Positive = 10.0  # σ of the blur in pixels per unit of noise; 8 to 12 alike on 10 images, noise 20 to 160
    compactness: Positive = 20.0  # [34]; lower follows weak edges, higher gives squarer superpixels
    merging: tuple[Positive, ...] = (300.0, 600.0, 2000.0)  # [34]; k of each level of the index tree
    centre_width: Positive = 0.25  # [34]; σ of the centre prior, in image sides
    geodesic_widths: tuple[Positive, ...] = (3.0, 5.0, 8.0, 12.0)  # CIELAB; [34] has one; none suits every contrast
    texture_weight: NonNegative = 7.0  # CIELAB units per unit of texture feature distance; fitted
    connectivity_width: Positive = 3.0  # fitted; 1 (CVPR 2014) zeroes objects that touch the border
    affinity_width: Positive = 0.22  # in feature units, σ² ≈ 0.05; 0.1 to 0.5 differ little
    laplacian_weight: NonNegative = 1.1  # [34]; α
    group_weight: NonNegative = 0.35  # [34]; β
    mu: Positive = 0.1  # [34]; first penalty of the augmented Lagrangian
    mu_growth: Annotated[float, at_least(1)] = 1.1  # [34]; ρ
    tolerance: Positive = 1e-3  # relative residual to stop at; [34]: 1e-5, whose maps correlate > 0.9995 (200 images)
    max_iterations: Count = 500  # about 45 are needed
    smoothing: NonNegative = 3.0  # weight of the first quadratic smoothing; 1 to 10 differ by 0.02 in F
    contrast_fraction: Positive = 0.35  # fitted; colour width of the smoothing, in the image's median colour distance
    object_width: Positive = 0.3  # σ of the object-biased Gaussian, in image sides; 0.2 to 0.4 differ little
    object_bias: Annotated[float, between(0, 1)] = 0.8  # its weight; 0 ignores where the object is, 1 drops far parts
