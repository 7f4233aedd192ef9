"""Golden cases 0 and 8: CLIP's towers."""

import pytest
from released_model import clip_sizes

from code_mm.registry import MODELS


@pytest.fixture(scope='module')
def clip(golden):
    checkpoint = str(golden.path(golden.case('clip.safetensors')['file']))
    model = MODELS.build(
        dict(
            type='CLIP',
            **clip_sizes(golden.index),
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
        )
    )
    model.init_weights()
    return model.eval()


def _sizes(tensors):
    return [name.removesuffix('.image') for name in tensors if name.endswith('.image')]


def test_image_tower(golden, clip):
    entry = golden.case('08_clip')
    expected = golden.tensors(entry)
    assert _sizes(expected)
    for size in _sizes(expected):
        image = expected[f'{size}.image']
        trunk = clip.trunk(image)
        hidden = clip.image_tail().last_block(trunk)
        checks = dict(
            image_embedding=clip.encode_image(image),
            spatial_prelnproj=hidden,
            spatial_projected=clip.dense(trunk),
        )
        for name, value in checks.items():
            golden.assert_close(value, expected[f'{size}.{name}'], entry, what=f'{size} {name}')
        last = golden.index['tiny_clip']['vision_layers'] - 1
        before = expected[f'{size}.block{last - 1}_hidden_LND'][1:].transpose(0, 1)
        golden.assert_close(trunk.tokens, before, entry, what=f'{size} trunk')
        after = expected[f'{size}.block{last}_hidden_LND'][1:].transpose(0, 1)
        golden.assert_close(hidden, trunk.to_map(after), entry, what=f'{size} last block')


def test_text_tower(golden, clip):
    entry = golden.case('08_clip')
    expected = golden.tensors(entry)
    ids = clip.tokenize(entry['strings'])
    assert ids.equal(expected['text.ids'])
    assert (clip.text_lengths(ids) - 1).equal(expected['text.eos_index'])
    golden.assert_close(clip.encode_text(ids), expected['text.embedding'], entry)
    embed = clip.encode_words(clip.embed_tokens(ids), clip.text_lengths(ids))
    golden.assert_close(embed, expected['text.embedding_from_word_embeddings'], entry)
    last = golden.index['tiny_clip']['transformer_layers'] - 1
    hidden = clip.hidden_states(ids).transpose(0, 1)
    golden.assert_close(hidden, expected[f'text.block{last}_hidden_LND'], entry)
