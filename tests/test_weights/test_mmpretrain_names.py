import runpy
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_model import SIZES, openai_state, tiny_clip

# Those of a transformer of mmpretrain 1.3.6; compared with the real one, where it is installed, in
# tests/test_models/test_segmentors/test_mmpretrain_backbone.py.
BLOCK = {
    'ln1.weight': 'ln_1.weight',
    'ln1.bias': 'ln_1.bias',
    'attn.qkv.weight': 'attn.in_proj_weight',
    'attn.qkv.bias': 'attn.in_proj_bias',
    'attn.proj.weight': 'attn.out_proj.weight',
    'attn.proj.bias': 'attn.out_proj.bias',
    'ln2.weight': 'ln_2.weight',
    'ln2.bias': 'ln_2.bias',
    'ffn.layers.0.0.weight': 'mlp.c_fc.weight',
    'ffn.layers.0.0.bias': 'mlp.c_fc.bias',
    'ffn.layers.1.weight': 'mlp.c_proj.weight',
    'ffn.layers.1.bias': 'mlp.c_proj.bias',
}
REST = {
    'cls_token': 'class_embedding',
    'pos_embed': 'positional_embedding',
    'patch_embed.projection.weight': 'conv1.weight',
    'pre_norm.weight': 'ln_pre.weight',
    'pre_norm.bias': 'ln_pre.bias',
    'ln1.weight': 'ln_post.weight',
    'ln1.bias': 'ln_post.bias',
}


def expected_backbone(clip):
    names = dict(REST)
    for i in range(SIZES['vision_layers']):
        names |= {f'layers.{i}.{k}': f'transformer.resblocks.{i}.{v}' for k, v in BLOCK.items()}
    own = clip.visual.state_dict()
    return {f'backbone.{theirs}': own[ours] for theirs, ours in names.items()}


def assert_converted(clip, converted):
    backbone = {name: value for name, value in converted.items() if name.startswith('backbone.')}
    expected = expected_backbone(clip)
    assert backbone.keys() == expected.keys()
    for name, value in expected.items():
        token = name in ('backbone.cls_token', 'backbone.pos_embed')
        assert backbone[name].dim() == (3 if token else value.dim()), name
        assert torch.equal(backbone[name].flatten(), value.flatten()), name
    prefix = 'vision_language_backbone.'
    text = {k.removeprefix(prefix): v for k, v in converted.items() if k.startswith(prefix)}
    own = {k: v for k, v in clip.state_dict().items() if not k.startswith('visual.')}
    assert text.keys() == own.keys() and all(torch.equal(text[k], own[k]) for k in own)
    features = torch.rand(2, SIZES['vision_width'], 3, 4)
    weight, bias = (converted[f'decode_head.projection.{name}'] for name in ('weight', 'bias'))
    projected = torch.nn.functional.conv2d(features, weight, bias).permute(0, 2, 3, 1)
    torch.testing.assert_close(projected, features.permute(0, 2, 3, 1) @ clip.visual.proj)
    assert len(converted) == len(backbone) + len(text) + 2


@torch.no_grad()
def test_the_tool_writes_a_safe_checkpoint(tmp_path, monkeypatch, capsys):
    clip = tiny_clip()
    save_file({k: v.half() for k, v in openai_state(clip).items()}, tmp_path / 'clip.safetensors')
    tool = Path(__file__).parents[2] / 'tools/model_converters/clip_to_mmpretrain.py'
    target = tmp_path / 'new' / 'clip.pth'
    monkeypatch.setattr(sys, 'argv', [str(tool), str(tmp_path / 'clip.safetensors'), str(target)])
    runpy.run_path(str(tool), run_name='__main__')
    state = torch.load(target, weights_only=True)['state_dict']
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert f'{len(state)} tensors of' in capsys.readouterr().out
    clip.half().float()  # what the file held
    assert_converted(clip, state)
