"""Checkpoints of earlier versions: each old name becomes the one that the model has today."""

import torch
from torch import nn

from code_mm.weights.own_layouts import rename_own, rename_own_on_loading

CODE = {
    'image_segmenter.block.attn.in_proj_bias': 'image_segmenter.tail.block.attn.in_proj_bias',
    'image_segmenter.ln_post.weight': 'image_segmenter.tail.ln_post.weight',
    'image_segmenter.proj': 'image_segmenter.tail.proj',
    'image_segmenter.decoder.0.gate': 'image_segmenter.decoder.0.gate',
    'noun_prompt.contexts': 'co_decomposition.noun_prompt.contexts',
    'region_prompt.image': 'co_decomposition.region_prompt.image',
    'word_prompt.words': 'co_decomposition.word_prompt.words',
    'text_segmenter.scale': 'co_decomposition.text_segmenter.scale',
    'losses.region_word.logit_scale': 'co_decomposition.losses.region_word.logit_scale',
    'decode_head.similarity_to_mask.scale': 'co_decomposition.similarity_to_mask.scale',
    'backbone.visual.proj': 'backbone.visual.proj',
}
CAPTION_ALIGNED = {
    'backbone.conv1.weight': 'backbone.conv1.weight',
    'decode_head.similarity_to_mask.scale': 'decode_head.similarity_to_mask.scale',
    'alignment.decode_head.similarity_to_mask.scale': 'co_decomposition.similarity_to_mask.scale',
    'alignment.backbone.text.ln_final.bias': 'vision_language_backbone.text.ln_final.bias',
    'alignment.noun_prompt.contexts': 'co_decomposition.noun_prompt.contexts',
    'alignment.losses.region_word.logit_scale': 'co_decomposition.losses.region_word.logit_scale',
}
ZERO_SHOT = {
    'decode_head.text_encoder.ln_final.bias': 'vision_language_backbone.text.ln_final.bias',
    'decode_head.projection.weight': 'decode_head.projection.weight',
}
TOWERS = {
    'backbone.conv1.weight': 'backbone.visual.conv1.weight',
    'decode_head.text_encoder.ln_final.bias': 'backbone.text.ln_final.bias',
}
TABLES = (CODE, CAPTION_ALIGNED, ZERO_SHOT, TOWERS)


def numbered(names):
    return {name: torch.tensor(i) for i, name in enumerate(names)}


def test_every_old_name_becomes_the_models():
    for table in TABLES:
        assert rename_own(numbered(table), table.values()) == numbered(table.values())


def test_names_that_the_model_has_stay():
    for table in TABLES:
        assert rename_own(numbered(table), table.keys()) == numbered(table)  # an old model
        assert rename_own(numbered(table.values()), table.values()) == numbered(table.values())


def test_nothing_is_overwritten_and_unknown_names_stay():
    both = {'losses.a': torch.tensor(1), 'co_decomposition.losses.a': torch.tensor(2), 'x': 3}
    assert rename_own(both, ['co_decomposition.losses.a']) == both
    assert rename_own({'losses.b': 1}, ['co_decomposition.losses.a']) == {'losses.b': 1}


def test_a_model_renames_whatever_it_is_given():
    part = nn.ModuleDict(dict(co_decomposition=nn.ModuleDict(dict(losses=nn.Linear(1, 1)))))
    model = nn.Sequential(part)
    rename_own_on_loading(part)
    weight = torch.full((1, 1), 7.0)
    model.load_state_dict({'0.losses.weight': weight, '0.losses.bias': torch.ones(1)})
    assert torch.equal(part['co_decomposition']['losses'].weight, weight)
