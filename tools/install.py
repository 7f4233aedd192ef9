"""Sets an environment up for code_mm, without replacing anything the user has (`make install`).

Runs under the environment's own Python, needs the standard library only, and returns at once when
nothing has changed since its last run.
"""

import hashlib
import importlib.util
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAMP = Path(sys.prefix) / '.code_mm_install'
OLDEST_PYTHON = (3, 10)
# What `make test-openmmlab` adds to requirements/openmmlab.txt; mmcv has no wheels on PyPI.
OPENMMLAB = ('torch==2.1.2', 'mmcv-lite==2.1.0')
STAND_IN = '''"""Stands in for the compiled operators that mmcv-lite lacks; no test calls them."""


def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)
    return NotImplemented
'''
MM_PACKAGES = ('mmengine', 'mmcv', 'mmsegmentation')  # as OpenMMLab names them; ours: onedl-*


def is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def plan(has=is_installed, openmmlab: bool = False) -> list[list[str]]:
    """What is still to be installed: arguments of ``pip install``, one list per call.

    Args:
        has (Callable): Whether a distribution is installed, by its name.
        openmmlab (bool): OpenMMLab's own packages for tests, not their continuation.
    """
    requirements = ROOT / 'requirements'
    if openmmlab:
        packages = [*OPENMMLAB, '-r', str(requirements / 'openmmlab.txt')]
        return [packages, ['-e', f'{ROOT}[tests,lint]']]
    steps = []
    if not has('torch'):
        # first and alone: the MM packages would pull another build
        steps.append(['-r', str(requirements / 'torch.txt')])
    own = [name for name in (*MM_PACKAGES, 'mmcv-lite') if has(name)]
    if not own:
        steps.append(['-r', str(requirements / 'mm.txt')])
    elif not (has('mmengine') and has('mmsegmentation') and (has('mmcv') or has('mmcv-lite'))):
        raise SystemExit(
            f'This environment has {", ".join(own)} of OpenMMLab, but not all of '
            f'{", ".join(MM_PACKAGES)}. Install the missing ones, or use an environment without '
            f'them (deactivate yours and run make again): the onedl-* packages would overwrite '
            f'them.'
        )
    photos = ['--no-deps', '-r', str(requirements / 'photos_no_deps.txt')]
    return [*steps, ['-e', f'{ROOT}[photos,onnx,tests,lint]'], photos]


def digest() -> str:
    """Of all that an installation depends on."""
    files = sorted((ROOT / 'requirements').glob('*.txt'))
    files += [ROOT / 'setup.py', ROOT / 'pyproject.toml', Path(__file__)]
    text = b''.join(file.read_bytes() for file in files)
    return hashlib.sha256(text + sys.version.encode()).hexdigest()


def is_up_to_date() -> bool:
    """Whether the last run here was for this checkout and these requirements."""
    if not STAMP.is_file() or not all(map(is_installed, ('code_mm', 'torch', 'pytest', 'ruff'))):
        return False
    found = importlib.util.find_spec('code_mm')
    is_this_checkout = found and found.origin == str(ROOT / 'code_mm' / '__init__.py')
    return bool(is_this_checkout) and STAMP.read_text() == digest()


def python(*args: str, **keys) -> None:
    subprocess.run([sys.executable, *args], check=True, stdin=subprocess.DEVNULL, **keys)


def main() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise SystemExit(f'code_mm needs Python >= 3.10, but got {sys.version.split()[0]}')
    if is_up_to_date():
        return
    if importlib.util.find_spec('pip') is None:
        python('-m', 'ensurepip', '--upgrade')
    openmmlab = sys.argv[1:] == ['--openmmlab']
    for step in plan(openmmlab=openmmlab):
        print('pip install', *step, flush=True)
        python('-m', 'pip', 'install', '--quiet', '--no-input', *step)
    if openmmlab:
        folder = Path(importlib.util.find_spec('mmcv').origin).parent
        (folder / '_ext.py').write_text(STAND_IN)
    # by path: a mistake elsewhere in the package is the tests' business
    check = str(ROOT / 'code_mm' / 'compatibility.py')
    script = f'import runpy; runpy.run_path({check!r})["check_versions"]()'
    python('-c', script, cwd=sys.prefix)
    STAMP.write_text(digest())
    print(f'code_mm is installed in {sys.prefix}', flush=True)


if __name__ == '__main__':
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f'failed: {" ".join(map(str, error.cmd))}')
