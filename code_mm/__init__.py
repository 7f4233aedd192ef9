"""CoDe (Image-Text Co-Decomposition) as a plugin of MMSegmentation.

Importing this package registers all its parts, so
``custom_imports = dict(imports=['code_mm'])`` is all that a config needs.
"""

from .compatibility import check_versions
from .version import __version__

check_versions()  # before anything below imports those packages

from . import datasets, engine, evaluation, models, visualization  # noqa: E402, F401

__all__ = ['__version__']
