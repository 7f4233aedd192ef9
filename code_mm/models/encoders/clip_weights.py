"""Reading CLIP weight files without executing anything in them."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from safetensors.torch import load_file
from torch import Tensor, nn

# OpenAI's archives carry these integers beside the weights.
_NOT_WEIGHTS = frozenset({'input_resolution', 'context_length', 'vocab_size'})
# The one way in which reading a TorchScript archive would run what stands in it.
_RUNS_ON_LOADING = b'__setstate__'


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file.

    Args:
        path (str | Path): safetensors, a TorchScript archive (OpenAI's ``ViT-B-16.pt``) or a
            file of ``torch.save`` that holds tensors and plain types only.

    Returns:
        dict[str, Tensor]: Tensors by name; of a checkpoint, those under ``state_dict``.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
        ValueError: The file is none of these, or reading it could run code that stands in it.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f'expected a weight file, but {path.absolute()} is a folder')
    if not path.is_file():
        raise FileNotFoundError(f'expected a weight file, but there is none at {path.absolute()}')
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        if _is_torchscript(path):
            _refuse_active(path)
            return dict(torch.jit.load(path, map_location='cpu').state_dict())
        content = torch.load(path, map_location='cpu', weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(f'it holds no tensors by name, but a {type(content).__name__}')
    except Exception as error:
        raise ValueError(
            f'expected safetensors, a TorchScript archive or a file of tensors and plain types, '
            f'but {path} cannot be read as one: {error}'
        ) from error
    content = content.get('state_dict', content)
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def load_clip_weights(module: nn.Module, path: str | Path, tower: str = '') -> None:
    """Load a file with OpenAI's parameter names into a :class:`CLIP`, or into one of its towers.

    Args:
        module (nn.Module): The model to fill.
        path (str | Path): See :func:`read_tensors`; the file of a whole CLIP.
        tower (str): 'visual.' or 'text.' where the module is that tower alone.

    Raises:
        ValueError: Names or sizes do not fit; the message says which size the file has.
    """
    state = {_own_name(k): v for k, v in read_tensors(path).items() if k not in _NOT_WEIGHTS}
    state = {name: value for name, value in state.items() if name.startswith(tower)}
    own = {f'{tower}{name}': value for name, value in module.state_dict().items()}
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    wrong = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or unexpected or wrong:
        raise ValueError(
            f'{path} does not fit this CLIP: {len(missing)} missing {missing[:3]}, '
            f'{len(unexpected)} unexpected {unexpected[:3]}, '
            f'{len(wrong)} of another size {sorted(wrong)[:3]}. Expected {clip_sizes(own)}, '
            f"but the file has {clip_sizes(state)}; set these keys of the model to the file's"
        )
    module.load_state_dict({name.removeprefix(tower): value for name, value in state.items()})
    print_log(
        f'loaded all {len(own)} tensors of {type(module).__name__} from {path}', logger='current'
    )


def init_from_clip_file(module: BaseModule, tower: str = '') -> None:
    """Fill a CLIP, or one tower, from the file that its ``init_cfg`` names.

    Args:
        module (BaseModule): The model to fill; random weights, said aloud, without ``init_cfg``.
        tower (str): See :func:`load_clip_weights`.

    Raises:
        ValueError: ``init_cfg`` is not ``dict(type='Pretrained', checkpoint=...)``.
    """
    name, init_cfg = type(module).__name__, module.init_cfg
    if not init_cfg:
        if not any(p.requires_grad for p in module.parameters()):
            print_log(
                f'the frozen {name} has no `init_cfg`: its weights are random unless a '
                'checkpoint is loaded afterwards',
                logger='current',
                level=logging.WARNING,
            )
        return
    keys = init_cfg.keys() if isinstance(init_cfg, dict) else ()
    if set(keys) != {'type', 'checkpoint'} or init_cfg['type'] != 'Pretrained':
        raise ValueError(
            f"expected init_cfg=dict(type='Pretrained', checkpoint=...) for {name}, but got "
            f'{init_cfg}'
        )
    load_clip_weights(module, init_cfg['checkpoint'], tower)


def clip_sizes(state: dict[str, Tensor]) -> dict[str, int]:
    """Constructor sizes of :class:`CLIP` that can be told from a state dict with our names."""
    sizes = {}

    def tell(name: str, key: str, axis: int) -> None:
        if key in state:
            sizes[name] = state[key].shape[axis]

    tell('vision_width', 'visual.conv1.weight', 0)
    tell('patch_size', 'visual.conv1.weight', 2)
    tell('embed_dim', 'visual.proj', 1)
    tell('text_width', 'text.positional_embedding', 1)
    tell('context_length', 'text.positional_embedding', 0)
    tell('vocab_size', 'text.token_embedding.weight', 0)
    if 'visual.positional_embedding' in state and 'patch_size' in sizes:
        grid = round((len(state['visual.positional_embedding']) - 1) ** 0.5)
        sizes['image_size'] = grid * sizes['patch_size']
    for name, prefix in (('vision_layers', 'visual.'), ('text_layers', 'text.')):
        blocks = {k.split('.')[3] for k in state if k.startswith(f'{prefix}transformer.resblocks.')}
        if blocks:
            sizes[name] = len(blocks)
    return sizes


def _own_name(name: str) -> str:
    """OpenAI keeps the text tower at the top level; ours is under ``text.``."""
    at_top = name.startswith(('visual.', 'text.')) or name == 'logit_scale'
    return name if at_top else f'text.{name}'


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(n.endswith('constants.pkl') for n in archive.namelist())


def _refuse_active(path: Path) -> None:
    """TorchScript's reader would run every ``__setstate__`` of the archive; CLIP's has none."""
    with zipfile.ZipFile(path) as archive:
        code = [member for member in archive.infolist() if '/code/' in member.filename]
        if any(_RUNS_ON_LOADING in archive.read(member) for member in code):
            raise ValueError('the archive wants to run code of its own (__setstate__) on loading')
