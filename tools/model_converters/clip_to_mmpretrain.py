"""Convert a CLIP for a ZeroShotSegmentor on mmpretrain's VisionTransformer.

The file may be in any layout that init_cfg takes (docs/weights.md). The result is what
configs/eval/mmpretrain_vit-b16_ade20k.py expects.

Example:
    python tools/model_converters/clip_to_mmpretrain.py weights/ViT-B-16.pt \
        weights/ViT-B-16_mmpretrain.pth
"""

import argparse
import sys
from pathlib import Path

# Parts of names, ours and those of mmpretrain's image tower.
_MMPRETRAIN = (
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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, help='file of a CLIP, in any layout')
    parser.add_argument('target', type=Path, help='.pth file to write')
    return parser.parse_args()


def to_mmpretrain_names(state: dict) -> dict:
    """Rename a CLIP for a ``ZeroShotSegmentor`` around ``mmpretrain.VisionTransformer``.

    The image tower becomes ``backbone``, its projection into the joint space the 1x1 convolution
    ``decode_head.projection``, and the rest the ``vision_language_backbone``.

    Args:
        state (dict[str, Tensor]): A whole CLIP under our names, see ``to_own_names``.

    Raises:
        ValueError: The image tower's projection is missing.
    """
    if 'visual.proj' not in state:
        raise ValueError(f"expected a whole CLIP with 'visual.proj', but got {sorted(state)[:5]}")
    projection = state['visual.proj'].T[:, :, None, None].contiguous()
    renamed = {
        'decode_head.projection.weight': projection,
        'decode_head.projection.bias': projection.new_zeros(len(projection)),
    }
    for name, value in state.items():
        tower, _, rest = name.partition('.')
        if tower != 'visual':
            renamed[f'vision_language_backbone.{name}'] = value
        elif rest != 'proj':
            for ours, theirs in _MMPRETRAIN:
                rest = rest.replace(ours, theirs)
            token = rest in ('cls_token', 'pos_embed')
            renamed[f'backbone.{rest}'] = value.view(1, -1, value.shape[-1]) if token else value
    return renamed


def main() -> None:
    args = parse_args()
    import torch

    from code_mm.atomic_write import atomic_write
    from code_mm.weights import read_tensors, to_own_names

    state = to_mmpretrain_names(to_own_names(read_tensors(args.source)))
    state = {name: value.float() for name, value in state.items()}
    args.target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.target) as unfinished:
        torch.save(dict(state_dict=state), unfinished)
    print(f'{len(state)} tensors of {args.source} written to {args.target}')


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
