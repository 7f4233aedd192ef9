"""Are the packages that code_mm stands on present, and of a supported version?"""

import importlib
import warnings
from importlib import metadata

from packaging.version import Version

# Import name -> (first supported version, first unsupported one). Both families of MM packages,
# OpenMMLab's and its continuation onedl-*, share these import names.
SUPPORTED = {
    'torch': ('2.1', '3.0'),
    'mmengine': ('0.10.0', '1.0.0'),
    'mmcv': ('2.0.0', '3.0.0'),
    'mmseg': ('1.2.0', '2.0.0'),
}
# OpenMMLab's distributions; the continuation's begin with onedl-.
FAMILY = ('mmengine', 'mmcv', 'mmsegmentation')

INSTALL_TORCH = 'pip install "torch==2.13.0"'
INSTALL_MM = 'pip install "code_mm[mm]"'


def check_versions() -> None:
    """Check torch, mmengine, mmcv and mmseg.

    Raises:
        ImportError: Packages are missing, broken or of another version; says how to mend each.
    """
    problems = [problem for name in SUPPORTED if (problem := _problem_of(name))]
    if problems:
        lines = '\n'.join(f'  - {problem}' for problem in problems)
        raise ImportError(f'code_mm cannot be imported:\n{lines}')
    for name in FAMILY:
        if _is_installed(name) and _is_installed(f'onedl-{name}'):
            warnings.warn(
                f'both {name} and onedl-{name} are installed; they write the same files, so '
                'which one is imported is left to chance. Keep one family: pip uninstall '
                f'{name} onedl-{name}, then install the one you want again.',
                stacklevel=2,
            )


def _problem_of(name: str) -> str | None:
    first, beyond = SUPPORTED[name]
    cure = INSTALL_TORCH if name == 'torch' else INSTALL_MM
    advice = f'code_mm needs {name}>={first},<{beyond}; run: {cure}'
    try:
        version = Version(importlib.import_module(name).__version__)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return f'{name} is not installed; {advice}'
        # OpenMMLab's packages assert each other's versions while they are imported.
        return f'{name} is installed, but fails to import ({error}); {advice}'
    # release, not the whole version: builds such as 2.13.0+cpu and pre-releases count as theirs
    if not Version(first).release <= version.release < Version(beyond).release:
        return f'{name} {version} is not supported; {advice}'
    return None


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
