"""For type checkers: the names of `__init__.py`, which are imported on first use."""

from . import amortized as amortized
from . import baselines as baselines
from . import companion as companion
from . import data as data
from . import hints as hints
from . import images as images
from . import metrics as metrics
from . import model as model
from . import pictures as pictures
from . import seeds as seeds
from .amortized.segmenter import Segmenter as Segmenter
from .baselines.appearance import forest as forest
from .baselines.appearance import hint_cut as hint_cut
from .baselines.appearance import mixture as mixture
from .baselines.appearance import ridge as ridge
from .baselines.chan_vese import chan_vese as chan_vese
from .baselines.double_dip import double_dip as double_dip
from .baselines.double_dip import double_dip_batch as double_dip_batch
from .baselines.feature_clustering import feature_clustering as feature_clustering
from .baselines.grab_cut import grab_cut as grab_cut
from .baselines.inpainting_error import inpainting_error_maximization as inpainting_error_maximization
from .baselines.normalized_cuts import normalized_cuts as normalized_cuts
from .baselines.saliency_threshold import saliency_threshold as saliency_threshold
from .baselines.statistical import statistical as statistical
from .baselines.vese_chan import vese_chan as vese_chan
from .data import samples as samples
from .door import segment as segment
from .errors import InputError as InputError
from .hints.saliency import structured_matrix_decomposition as structured_matrix_decomposition
from .methods import METHODS as METHODS
from .methods import get_method as get_method
from .model.segment import deep_chan_vese as deep_chan_vese
from .model.segment import deep_chan_vese_batch as deep_chan_vese_batch
from .pictures import read_image as read_image
from .seeds import Seeds as Seeds
from .segmentation import Segmentation as Segmentation

__version__: str
