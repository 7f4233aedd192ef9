"""Reading CLIP weight files without executing anything in them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from mmengine.logging import print_log
from safetensors.torch import load_file
from torch import Tensor, nn

# OpenAI's archives carry these integers beside the weights.
_NOT_WEIGHTS = frozenset({'input_resolution', 'context_length', 'vocab_size'})


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file.

    Args:
        path (str | Path): safetensors, a TorchScript archive (OpenAI's ``ViT-B-16.pt``) or a
            file of ``torch.save`` that holds tensors and plain types only.

    Returns:
        dict[str, Tensor]: Tensors by name; of a checkpoint, those under ``state_dict``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is none of these, or it would have to be unpickled unsafely.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'expected a weight file, but there is none at {path.absolute()}')
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        if _is_torchscript(path):
            # TorchScript's own reader builds tensors and graphs only; nothing is called here.
            return dict(torch.jit.load(path, map_location='cpu').state_dict())
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise ValueError(
            f'expected safetensors, a TorchScript archive or a file of tensors and plain types, '
            f'but {path} cannot be read as one: {error}'
        ) from error
    content = content.get('state_dict', content)
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def load_clip_weights(clip: nn.Module, path: str | Path) -> None:
    """Load a file with OpenAI's parameter names into a :class:`CLIP`.

    Args:
        clip (CLIP): The model to fill.
        path (str | Path): See :func:`read_tensors`.

    Raises:
        ValueError: Names or sizes do not fit; the message says which size the file has.
    """
    state = {_own_name(k): v for k, v in read_tensors(path).items() if k not in _NOT_WEIGHTS}
    own = clip.state_dict()
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
    clip.load_state_dict(state)
    print_log(f'loaded all {len(own)} tensors of CLIP from {path}', logger='current')


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
