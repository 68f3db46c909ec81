"""Settings of the saliency map."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from deepcv.errors import InputError

MAY_BE_ZERO = ("texture_weight", "laplacian_weight", "group_weight", "smoothing", "object_bias")
"""Settings that weigh a term and leave it out at 0; all others must be above 0."""


NOTICEABLE_NOISE = 0.05
"""Standard deviation, of 1, from which on an image counts as noisy; none of Weizmann's photographs has as much."""


@dataclass(frozen=True)
class SaliencySettings:
    """The constants of the saliency map. "[34]" marks the paper's; "fitted" those chosen on 20 Weizmann images."""

    longest_side: int = 300  # pixels; the paper's images have about this size, and the filters' wavelengths fit it
    smallest_longest_side: int = 128  # pixels; smaller images are enlarged, or superpixels would be single pixels
    superpixels: tuple[int, ...] = (150, 250, 400)  # [34]: 250 alone; three gain 0.004 in F, double the time
    noticeable_noise: float = NOTICEABLE_NOISE
    denoising: float = 10.0  # width in pixels of the blur, a unit of noise; 8 to 12 alike on 10 images, σ 20 to 160
    compactness: float = 20.0  # [34]; lower follows weak edges, higher gives squarer superpixels
    merging: tuple[float, ...] = (300.0, 600.0, 2000.0)  # [34]; k of each level of the index tree above the leaves
    centre_width: float = 0.25  # [34]; σ of the centre prior, in image sides
    geodesic_widths: tuple[float, ...] = (3.0, 5.0, 8.0, 12.0)  # CIELAB; [34] has one; none suits every contrast
    texture_weight: float = 7.0  # CIELAB units per unit of texture feature distance; fitted
    connectivity_width: float = 3.0  # fitted; 1 (CVPR 2014) zeroes objects that touch the border
    affinity_width: float = 0.22  # in feature units, σ² ≈ 0.05; from 0.1 to 0.5 hardly matters
    laplacian_weight: float = 1.1  # [34]; α
    group_weight: float = 0.35  # [34]; β
    mu: float = 0.1  # [34]; first penalty of the augmented Lagrangian
    mu_growth: float = 1.1  # [34]; ρ
    tolerance: float = 1e-5  # [34]; relative residual of the constraints at which to stop
    max_iterations: int = 500  # about 90 are needed
    smoothing: float = 3.0  # weight of the first quadratic smoothing; 1 to 10 differ by 0.02 in F
    contrast_fraction: float = 0.35  # fitted; colour width of the smoothing, in the image's median colour distance
    object_width: float = 0.3  # σ of the object-biased Gaussian, in image sides; 0.2 to 0.4 hardly matters
    object_bias: float = 0.8  # its share; 0 ignores where the object is, 1 drops far parts

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            values = value if isinstance(value, tuple) else (value,)
            zero_allowed = field.name in MAY_BE_ZERO
            if not values or not all(_is_number(v) and (v > 0 or (zero_allowed and v == 0)) for v in values):
                least = "at least 0" if zero_allowed else "above 0"
                raise InputError(f"saliency setting {field.name} is {value!r}; it must be {least}")
        if self.mu_growth < 1:
            raise InputError(f"saliency setting mu_growth is {self.mu_growth}; it must be at least 1")
        if self.object_bias > 1:
            raise InputError(f"saliency setting object_bias is {self.object_bias}; it must be at most 1")


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and np.isfinite(value)
