"""CoDe (Image-Text Co-Decomposition) as a plugin of MMSegmentation.

Importing this package registers all its parts, so
``custom_imports = dict(imports=['code_mm'])`` is all that a config needs.
"""

from . import datasets, engine, evaluation, models, visualization  # noqa: F401
from .version import __version__

__all__ = ['__version__']
