import pytest
import torch
from tiny_model import code_config

from code_mm.registry import MODELS
from code_mm.weights.release_weights import convert_release_name, convert_release_weights


@pytest.mark.parametrize(
    ('released', 'own'),
    [
        ('learnable_image_bg', 'co_decomposition.region_prompt.image'),
        ('bg_text', 'co_decomposition.word_prompt.words'),
        ('text_mask_w', 'co_decomposition.text_segmenter.scale'),
        ('clip_text_encoder.prompt_learner.ctx', 'co_decomposition.noun_prompt.contexts'),
        ('frozen_clip.visual.proj', 'backbone.visual.proj'),
        ('frozen_clip.logit_scale', 'backbone.logit_scale'),
        ('frozen_clip.ln_final.bias', 'backbone.text.ln_final.bias'),
        (
            'masker.image_encoder.backbone.transformer.resblocks.11.attn.in_proj_bias',
            'image_segmenter.tail.block.attn.in_proj_bias',
        ),
        (
            'masker.image_encoder.decoder.decoder.net.1.conv.gate.gate',
            'image_segmenter.decoder.1.gate',
        ),
        ('masker.sim2mask.b', 'co_decomposition.similarity_to_mask.bias'),
        ('hcl_loss.logit_scale', 'co_decomposition.losses.region_word.logit_scale'),
    ],
)
def test_names(released, own):
    assert convert_release_name(released) == own
    assert own in MODELS.build(code_config()).state_dict()


@pytest.mark.parametrize(
    'name',
    [
        'pamr.aff_x.kernel',
        'clip_image_encoder.clip_visual.proj',
        'clip_text_encoder.text_encoder.ln_final.bias',
        'clip_text_encoder.prompt_learner.token_prefix',
    ],
)
def test_copies_are_left_out(name):
    assert convert_release_name(name) is None
    clip = 'frozen_clip.logit_scale'  # of which the others are copies
    converted = convert_release_weights({name: torch.ones(1), clip: torch.ones(1)})
    assert set(converted) == {'backbone.logit_scale'}


def test_shapes_and_types():
    converted = convert_release_weights(
        {'bg_text': torch.zeros(77, 1, 512).half(), 'text_mask_b': torch.tensor(1.0).double()}
    )
    assert converted['co_decomposition.word_prompt.words'].shape == (77, 512)
    assert {value.dtype for value in converted.values()} == {torch.float32}
