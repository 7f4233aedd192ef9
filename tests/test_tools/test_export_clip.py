import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from code_mm.models.segmentors.clip_pretrainer import CLIPPretrainer
from code_mm.registry import MODELS
from code_mm.tokenizers import tokenize

TOOL = Path(__file__).parents[2] / 'tools/model_converters/export_clip.py'
SIZES = {
    'embed_dim': 16,
    'image_size': 32,
    'patch_size': 8,
    'vision_width': 32,
    'vision_layers': 2,
    'context_length': 12,
    'text_width': 16,
    'text_layers': 1,
}


def _export(*args):
    return subprocess.run(
        [sys.executable, TOOL, *map(str, args)], capture_output=True, text=True, check=False
    )


def test_exported_weights_load_as_a_clip_and_embed_alike(tmp_path):
    torch.manual_seed(0)
    clip = {'type': 'CLIP', **SIZES, 'frozen': False}
    pretrainer = CLIPPretrainer(clip=clip, vocabulary=['a star boat'])
    checkpoint, out = tmp_path / 'iter_7.pth', tmp_path / 'clip.safetensors'
    torch.save({'state_dict': pretrainer.state_dict(), 'meta': {'iter': 7, 'seed': 3}}, checkpoint)
    done = _export(checkpoint, out, '--metadata', 'config=x.py', 'command=a=b')
    assert done.returncode == 0, done.stderr
    with safe_open(out, 'pt') as file:
        metadata = file.metadata()
        names = set(file.keys())
        rows = file.get_tensor('token_embedding.weight')
    assert metadata['iteration'] == '7' and metadata['seed'] == '3'
    assert metadata['config'] == 'x.py' and metadata['command'] == 'a=b'
    assert {'visual.proj', 'text_projection', 'logit_scale', 'positional_embedding'} <= names
    assert rows.dtype == torch.float16 and rows.shape == (49408, 16)
    used = set(rows.abs().sum(1).nonzero().flatten().tolist())
    assert used == set(tokenize(['a star boat']).unique().tolist())

    init = {'type': 'Pretrained', 'checkpoint': str(out)}
    loaded = MODELS.build({**clip, 'frozen': True, 'init_cfg': init})
    loaded.init_weights()
    ids, image = tokenize(['a boat', 'star'], 12), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        text = torch.nn.functional.normalize(loaded.encode_text(ids), dim=1)
        visual = torch.nn.functional.normalize(loaded.encode_image(image), dim=1)
        torch.testing.assert_close(text, pretrainer.embed_texts(ids), rtol=0, atol=5e-3)
        torch.testing.assert_close(visual, pretrainer.embed_images(image), rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    'state, options, message',
    [
        ({'weight': torch.zeros(1)}, [], 'expected the checkpoint of a CLIPPretrainer'),
        (None, ['--vocab-size', '100'], 'expected token ids below vocab_size=100, but got 49407'),
    ],
)
def test_mistakes_are_named(tmp_path, state, options, message):
    if state is None:
        clip = {'type': 'CLIP', **SIZES, 'frozen': False}
        state = CLIPPretrainer(clip=clip, vocabulary=['a star']).state_dict()
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    done = _export(tmp_path / 'x.pth', tmp_path / 'x.safetensors', *options)
    assert done.returncode != 0 and message in done.stderr
