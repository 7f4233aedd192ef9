"""Where a model's weights come from: a checkpoint that must exist, or the config."""

import difflib
import re
from pathlib import Path

from mmengine.runner import CheckpointLoader

from code_mm.weights import read_checkpoint

# 's3://', 'https://', 'modelzoo://': not on this machine's disk, MMEngine's loaders know them.
URL = re.compile(r'^[a-zA-Z][\w+.-]*:(//|[^\\/])')


def require_checkpoint(path: str) -> None:
    """Checks that a checkpoint is there before minutes are spent on building a run.

    Args:
        path: Path or URL of the checkpoint; URLs are left to MMEngine.

    Raises:
        FileNotFoundError: If there is no such file. The message names the
            nearest file of that folder.
        IsADirectoryError: If it is a folder.
    """
    if URL.match(path):
        return
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f'expected a checkpoint file, but got the folder {path!r}')
    if not file.is_file():
        raise FileNotFoundError(
            f'expected a checkpoint file, but {path!r} does not exist{_hint(file)}'
        )


def read_local_files_inertly() -> None:
    """Let MMEngine read the local checkpoints of this process with this project's reader.

    It takes every kind of file that docs/weights.md lists, and executes nothing; MMEngine's own
    knows files of ``torch.save`` only and may fall back to executing a pickle. Called by
    ``tools/train.py`` and ``tools/test.py``; URLs are left to MMEngine.
    """
    CheckpointLoader.register_scheme('', load_from_local, force=True)


def load_from_local(filename: str, map_location=None) -> dict:
    """The content of a local checkpoint, as MMEngine's loader of this name gives it."""
    return read_checkpoint(filename, map_location)


def names_pretrained_weights(model: dict | list) -> bool:
    """Whether a model's config names a file of weights anywhere.

    Args:
        model: Config of a model, nested as it may be.

    Returns:
        True if some part has ``init_cfg=dict(type='Pretrained', ...)`` or a
        ``pretrained`` path.
    """
    if isinstance(model, dict):
        if model.get('type') == 'Pretrained' and model.get('checkpoint'):
            return True
        if isinstance(model.get('pretrained'), str):
            return True
        return any(names_pretrained_weights(value) for value in model.values())
    if isinstance(model, (list, tuple)):
        return any(names_pretrained_weights(value) for value in model)
    return False


def _hint(file: Path) -> str:
    if not file.parent.is_dir():
        return f'; nor does its folder {str(file.parent)!r}'
    names = [entry.name for entry in file.parent.iterdir() if entry.is_file()]
    nearest = difflib.get_close_matches(file.name, names, n=1)
    return f'; did you mean {str(file.parent / nearest[0])!r}?' if nearest else ''
