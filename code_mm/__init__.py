"""CoDe (Image-Text Co-Decomposition) as a plugin of MMSegmentation.

Importing this package registers all its parts, so
``custom_imports = dict(imports=['code_mm'])`` is all that a config needs. A config of a project
names it behind the package, ``['code_mm', 'projects.tcl']``: importing the package makes the
projects of its checkout, or those that its wheel brings along, importable from anywhere.
"""

import os
import sys
from pathlib import Path

# Else OpenMP's threads spin while they wait and take the cores from other programs. It is read when
# torch is loaded, and a setting of the user's own wins.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from .compatibility import check_versions
from .version import __version__

check_versions()  # before anything below imports those packages

_WHEEL = Path(__file__).resolve().parent / '.mim'  # see setup.py
ROOT = str(_WHEEL if _WHEEL.is_dir() else _WHEEL.parents[1])  # where configs and projects are
if ROOT not in sys.path:
    sys.path.append(ROOT)

from . import datasets, engine, evaluation, models, visualization  # noqa: E402, F401

__all__ = ['__version__']
