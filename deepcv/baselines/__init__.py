"""The methods that the paper compares with, and those a reader would ask for, a file each."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "chan_vese": ["chan_vese"],
        "grab_cut": ["grab_cut"],
        "saliency_threshold": ["saliency_threshold"],
    },
)
