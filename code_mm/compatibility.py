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

# Import name -> (OpenMMLab's distribution, its continuation)
FAMILIES = {
    'mmengine': ('mmengine', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'onedl-mmcv'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
}

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
    for openmmlab, continued in FAMILIES.values():
        if _is_installed(openmmlab) and _is_installed(continued):
            warnings.warn(
                f'both {openmmlab} and {continued} are installed; they write the same files, so '
                'which one is imported is left to chance. Keep one family: pip uninstall '
                f'{openmmlab} {continued}, then install the one you want again.',
                stacklevel=2,
            )


def _problem_of(name: str) -> str | None:
    first, beyond = SUPPORTED[name]
    wanted = f'code_mm needs {name}>={first},<{beyond}'
    cure = f'run: {INSTALL_TORCH if name == "torch" else INSTALL_MM}'
    try:
        module = importlib.import_module(name)
        version = Version(module.__version__)
    except ModuleNotFoundError as error:
        if error.name == name:
            return f'{name} is not installed; {wanted}; {cure}'
        return f'{name} is installed, but fails to import ({error}); {cure}'
    except Exception as error:
        # OpenMMLab's packages assert each other's versions while they are imported.
        return f'{name} is installed, but fails to import ({error}); {wanted}; {cure}'
    # release, not the whole version: builds such as 2.13.0+cpu and pre-releases count as theirs
    if not Version(first).release <= version.release < Version(beyond).release:
        return f'{name} {version} is not supported; {wanted}; {cure}'
    return None


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
