"""From what a user names, a path, a public model, an address, to a file on this disk."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path, PurePosixPath

from mmengine.infer import BaseInferencer

from .download import cache_folder, cached_path, fetch, require_checksum, split_address

# 's3://', 'https://', 'modelzoo://', 'hf-hub:': not on this machine's disk.
URL = re.compile(r'^[a-zA-Z][\w+.-]*:(//|[^\\/])')
BY_HAND = Path('weights')  # of the working folder; downloads never land there
_HTTP = ('http://', 'https://')
_HUB = 'hf-hub:'
_HUB_FILES = (  # the first of these that a repository has
    *('open_clip_model.safetensors', 'open_clip_pytorch_model.bin'),
    *('model.safetensors', 'pytorch_model.bin'),
)
_HUB_CONFIGS = ('open_clip_config.json', 'config.json')  # read beside the weights


def public_models() -> dict[str, dict]:
    """Name -> entry of the metafiles that ``model-index.yml`` names, read as MMEngine does.

    An entry has ``Config`` if it is a whole model, ``Weights`` (an address as
    :func:`local_file` takes it, or the name of a file that has none) unless its config says where
    they are, and ``Metadata``.
    """
    package = Path(__file__).resolve().parents[1]
    wheel = package / '.mim'  # see setup.py
    folder = wheel if wheel.is_dir() else package.parent
    models = {}
    for entry in BaseInferencer._get_models_from_metafile(folder):
        if 'Config' in entry:
            entry['Config'] = os.path.join(folder, entry['Config'])
        models[entry['Name']] = entry
    return models


def local_file(source: str | Path) -> Path:
    """The weight file that a path, a name or an address stands for; fetched where it is not here.

    Args:
        source (str | Path): A path, a name of :func:`public_models`, ``https://...`` (with
            ``#sha256=`` and its checksum, if known), or ``hf-hub:owner/name[/file]``.

    Raises:
        OSError: There is no such file, or it cannot be had; says where to put it.
        ValueError: It is another file than its checksum says.
    """
    text = str(source)
    if text.startswith(_HTTP):
        return fetch(text)
    if text.startswith(_HUB):
        return _from_hub(text.removeprefix(_HUB))
    if Path(text).expanduser().exists() or text not in (models := public_models()):
        return require_file(source)
    return _named_file(text, models[text])


def is_here(name: str) -> bool:
    """Whether the file of a public model's http address can be read without a network."""
    weights = public_models()[name]['Weights']
    return any(path.is_file() for path in (_by_hand(weights), cached_path(weights)))


def require_file(path: str | Path) -> Path:
    """The path of a weight file, if it is there; else an error that names the nearest one."""
    path = Path(path).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f'expected a weight file, but {path.absolute()} is a folder')
    if path.is_file():
        return path
    hint = f'; nor is there its folder {str(path.parent)!r}'
    if path.parent.is_dir():
        near = {str(path.parent / name): name for name in os.listdir(path.parent)}
        near.update({name: name for name in public_models()} if path.name == str(path) else {})
        nearest = difflib.get_close_matches(path.name, near.values(), n=1)
        hint = next((f'; did you mean {k!r}?' for k, v in near.items() if [v] == nearest), '')
    raise FileNotFoundError(f'expected a weight file, but {str(path)!r} does not exist{hint}')


def _named_file(name: str, entry: dict) -> Path:
    weights = entry.get('Weights')
    if not weights:
        raise ValueError(f'expected weights, but {name} is a config without any of its own')
    if weights.startswith(_HUB):
        return local_file(weights)
    by_hand = _by_hand(weights)
    if by_hand.is_file():
        require_checksum(by_hand, split_address(weights)[1], 'delete it, or name its path')
        return by_hand
    if weights.startswith(_HTTP):
        return fetch(weights)
    kept = cache_folder() / weights
    if not kept.is_file():
        raise FileNotFoundError(
            f'expected the file of {name}, which cannot be fetched from here; get it from '
            f'{entry["Metadata"]["Source"]}, and put it at {by_hand} or {kept}'
        )
    return kept


def _by_hand(weights: str) -> Path:
    return BY_HAND / PurePosixPath(weights.partition('#')[0]).name


def _from_hub(name: str) -> Path:
    """A file of Hugging Face's hub in that library's cache, its config beside it."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.constants import HF_HUB_CACHE
        from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise ValueError(
            f'expected the package huggingface_hub for {_HUB}{name}, but it is not installed; '
            'pip install "code_mm[hub]", or download the file and name its path'
        ) from error
    owner, repository, file = (*name.split('/', 2), '', '')[:3]
    local_only, reason = False, None

    def get(wanted: str) -> Path | None:
        nonlocal local_only, reason
        try:
            path = hf_hub_download(f'{owner}/{repository}', wanted, local_files_only=local_only)
        except EntryNotFoundError as error:
            reason = reason if local_only else error
            # no network: what the cache has is all there is, and is not waited for again
            local_only = local_only or isinstance(error, LocalEntryNotFoundError)
            return None
        return Path(path)

    try:
        for config in _HUB_CONFIGS:
            get(str(PurePosixPath(file).parent / config))
        for wanted in [file] if file else _HUB_FILES:
            if found := get(wanted):
                return found
    except (OSError, ValueError) as error:  # no such repository, one behind a login, a wrong name
        reason = error
    wanted = file or f'one of {", ".join(_HUB_FILES)}'
    raise FileNotFoundError(
        f'expected {wanted} of {owner}/{repository}, but: {str(reason).strip().splitlines()[0]}; '
        f'without a network bring that repository from elsewhere into {HF_HUB_CACHE}, or '
        'name the path of its file'
    ) from reason
