"""CoDe (Image-Text Co-Decomposition) as a plugin of MMSegmentation.

Importing this package registers all its parts, so
``custom_imports = dict(imports=['code_mm'])`` is all that a config needs.
"""

from .compatibility import check_versions
from .version import __version__

check_versions()  # before anything below imports those packages

# MMSegmentation's parts register themselves first: where one of ours has the same name, theirs
# keeps the bare name, whatever was imported before.
import mmseg.datasets  # noqa: E402
import mmseg.engine  # noqa: E402
import mmseg.evaluation  # noqa: E402
import mmseg.models  # noqa: E402
import mmseg.visualization  # noqa: E402, F401

from . import datasets, engine, evaluation, models, visualization  # noqa: E402, F401

__all__ = ['__version__']
