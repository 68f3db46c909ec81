"""Chan-Vese with a deep latent space: the method of Zheng, Bao, Shi, Ling and Ma, and its competitors.

`segment` does with a picture what the command line does, by any method:

>>> import deepcv
>>> segmentation = deepcv.segment(deepcv.samples.load("coffee").image)  # doctest: +SKIP
>>> segmentation.mask                                                   # doctest: +SKIP

The methods' own functions, which experiments use, take a picture as it is. All have the same signature,
``method(image, hint=None, *, seed=0, device=None, **settings) -> Segmentation``; those that start from a hint also take
``seeds=``, what is marked (`deepcv.seeds`).

Names are imported on first use, so ``import deepcv`` costs milliseconds.
"""

import lazy_loader as _lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules={
        "amortized",
        "baselines",
        "companion",
        "data",
        "hints",
        "images",
        "metrics",
        "model",
        "pictures",
        "seeds",
    },
    submod_attrs={
        "amortized.segmenter": ["Segmenter"],
        "baselines.appearance": ["forest", "hint_cut", "mixture", "ridge"],
        "baselines.chan_vese": ["chan_vese"],
        "baselines.double_dip": ["double_dip", "double_dip_batch"],
        "baselines.feature_clustering": ["feature_clustering"],
        "baselines.grab_cut": ["grab_cut"],
        "baselines.inpainting_error": ["inpainting_error_maximization"],
        "baselines.normalized_cuts": ["normalized_cuts"],
        "baselines.saliency_threshold": ["saliency_threshold"],
        "baselines.statistical": ["statistical"],
        "baselines.vese_chan": ["vese_chan"],
        "data": ["samples"],
        "door": ["segment"],
        "errors": ["InputError"],
        "hints.saliency": ["structured_matrix_decomposition"],
        "methods": ["METHODS", "get_method"],
        "model.segment": ["deep_chan_vese", "deep_chan_vese_batch"],
        "pictures": ["read_image"],
        "seeds": ["Seeds"],
        "segmentation": ["Segmentation"],
    },
)
