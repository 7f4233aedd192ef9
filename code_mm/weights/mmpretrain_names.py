"""CLIP's weights under the names of mmpretrain's vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the image tower; longer names come before the ones they begin with.
_NAMES = (
    ('conv1.', 'patch_embed.projection.'),
    ('class_embedding', 'cls_token'),
    ('positional_embedding', 'pos_embed'),
    ('ln_pre.', 'pre_norm.'),
    ('ln_post.', 'ln1.'),
    ('transformer.resblocks.', 'layers.'),
    ('.ln_1.', '.ln1.'),
    ('.ln_2.', '.ln2.'),
    ('.attn.in_proj_', '.attn.qkv.'),
    ('.attn.out_proj.', '.attn.proj.'),
    ('.mlp.c_fc.', '.ffn.layers.0.0.'),
    ('.mlp.c_proj.', '.ffn.layers.1.'),
)


def to_mmpretrain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a CLIP for a ``ZeroShotSegmentor`` around ``mmpretrain.VisionTransformer``.

    The image tower becomes the backbone, its projection into the joint space the head's 1x1
    convolution, and the text tower the head's.

    Args:
        state (dict[str, Tensor]): A whole CLIP under our names, see ``to_own_names``.

    Returns:
        dict[str, Tensor]: ``backbone.*``, ``decode_head.projection.*`` and
        ``decode_head.text_encoder.*``.

    Raises:
        ValueError: The image tower's projection is missing.
    """
    if 'visual.proj' not in state:
        raise ValueError(f"expected a whole CLIP with 'visual.proj', but got {sorted(state)[:5]}")
    projection = state['visual.proj'].T[:, :, None, None].contiguous()
    renamed = {
        'decode_head.projection.weight': projection,
        'decode_head.projection.bias': torch.zeros_like(projection[:, 0, 0, 0]),
    }
    for name, value in state.items():
        tower, _, rest = name.partition('.')
        if tower == 'text':
            renamed[f'decode_head.text_encoder.{rest}'] = value
        elif tower == 'visual' and rest != 'proj':
            for theirs, ours in _NAMES:
                rest = rest.replace(theirs, ours)
            if rest in ('cls_token', 'pos_embed'):
                value = value.view(1, -1, value.shape[-1])
            renamed[f'backbone.{rest}'] = value
    return renamed
