"""Build of code_mm: the package, and what MIM needs to find configs and tools in a wheel."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_ITEMS = ('configs', 'projects', 'tools', 'model-index.yml')


def read_requirements(name: str) -> list[str]:
    """Lines of ``requirements/<name>.txt`` without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def read_version() -> str:
    """The version string, read without importing the package."""
    scope: dict = {}
    exec((ROOT / 'code_mm' / 'version.py').read_text(), scope)
    return scope['__version__']


class BuildPyWithMim(build_py):
    """Ships configs/, projects/, tools/ and model-index.yml inside the built package.

    An editable install needs no copy: MIM reads the checkout itself, and a
    copy (or link) there would make it find every config twice.

    ``code_mm/.mim`` is where OpenMMLab packages keep them. MIM takes the
    package's folder from the first path in the wheel's RECORD, though, which
    is sorted, and ``code_mm-*.dist-info`` sorts before ``code_mm/``. Hence the
    second copy in ``_code_mm_mim/``, which sorts before both.
    """

    MIM_FOLDERS = ('code_mm/.mim', '_code_mm_mim')

    def run(self) -> None:
        """Build, then copy; nothing is copied for editable installs."""
        super().run()
        if self.editable_mode:
            return
        for folder in self.MIM_FOLDERS:
            target = Path(self.build_lib) / folder
            shutil.rmtree(target, ignore_errors=True)  # a previous build's files must not survive
            target.mkdir(parents=True)
            for item in MIM_ITEMS:
                self._copy(ROOT / item, target / item)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            ignore = shutil.ignore_patterns('__pycache__', '*.pyc', 'work_dirs')
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy2(source, target)


mm = read_requirements('mm')
extras = {
    'app': read_requirements('app'),
    'torch': read_requirements('torch'),
    'mm': mm,
    'openmmlab': read_requirements('openmmlab'),
    'mmpretrain': mm + read_requirements('mmpretrain'),
    'photos': read_requirements('photos'),
    'hub': read_requirements('hub'),
    'onnx': read_requirements('onnx'),
    'tests': read_requirements('tests'),
    'lint': read_requirements('lint'),
}
whole = ('torch', 'mm', 'photos', 'hub', 'onnx', 'tests', 'lint')
extras['all'] = sorted({line for name in whole for line in extras[name]})
readme = ROOT / 'README.md'

setup(
    name='code_mm',
    version=read_version(),
    description='Image-Text Co-Decomposition (CoDe) as a plugin of MMSegmentation',
    long_description=readme.read_text() if readme.is_file() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['code_mm', 'code_mm.*']),
    package_data={'code_mm': ['**/*.txt', '**/*.json', '**/*.csv', '**/*.safetensors']},
    install_requires=read_requirements('runtime'),
    extras_require=extras,
    cmdclass={'build_py': BuildPyWithMim},
    zip_safe=False,
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Programming Language :: Python :: 3',
        'Operating System :: OS Independent',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
