"""Tiny checkpoints under the names of the CoDe and TCL releases, made from one of our models."""

import torch

_RENAMES = (
    ('region_prompt.image', 'learnable_image_bg'),
    ('word_prompt.words', 'bg_text'),
    ('text_segmenter.scale', 'text_mask_w'),
    ('text_segmenter.bias', 'text_mask_b'),
    ('text_segmenter.', 'text_decoder.'),
    ('noun_prompt.contexts', 'clip_text_encoder.prompt_learner.ctx'),
    ('image_segmenter.block.', 'masker.image_encoder.backbone.transformer.resblocks.11.'),
    ('image_segmenter.ln_post.', 'masker.image_encoder.decoder.image_proj.ln.'),
    ('image_segmenter.proj', 'masker.image_encoder.decoder.image_proj.proj'),
    ('decode_head.similarity_to_mask.scale', 'masker.sim2mask.w'),
    ('decode_head.similarity_to_mask.bias', 'masker.sim2mask.b'),
    ('losses.region_image.', 'tcli_loss.'),
    ('losses.region_feature.', 'tclf_loss.'),
    ('losses.region_word.', 'hcl_loss.'),
)
_OF_CODE = ('region_prompt.', 'word_prompt.', 'text_segmenter.', 'noun_prompt.')


def _old_name(name):
    """The name that this project once had for a parameter, which the tables here know."""
    if name.startswith('co_decomposition.similarity_to_mask.'):
        return name.replace('co_decomposition.', 'decode_head.')
    return name.removeprefix('co_decomposition.').replace(
        'image_segmenter.tail.', 'image_segmenter.'
    )


def _released_name(name):
    if name.startswith('image_segmenter.decoder.'):
        _, _, index, part = name.split('.', 3)
        part = {'gate': 'gate.gate'}.get(part, part)
        return f'masker.image_encoder.decoder.decoder.net.{index}.conv.{part}'
    for own, theirs in _RENAMES:
        if name.startswith(own):
            return theirs + name.removeprefix(own)
    raise KeyError(name)


def _wrapped(state):
    extra = dict(optimizer=dict(state={}), lr_scheduler={}, scaler={}, step=50000)
    return dict(model=state, **extra, config={}, metrics={})


def code_release(model):
    """The content of a CoDe release checkpoint with the weights of one of our models."""
    state = {'pamr.aff_x.kernel': torch.ones(8, 1, 3, 3)}
    for name, value in model.state_dict().items():
        name = _old_name(name)
        if name.startswith('backbone.'):
            name = name.removeprefix('backbone.').removeprefix('text.')
            state[f'frozen_clip.{name}'] = value
            if not name.startswith('visual.'):  # a copy, which must not be taken
                state[f'clip_text_encoder.text_encoder.{name}'] = torch.zeros_like(value)
        else:
            own = 'bg_text' if name == 'word_prompt.words' else _released_name(name)
            state[own] = value[:, None] if own == 'bg_text' else value
    return _wrapped(state)


def tcl_release(model, wrapper=''):
    """A TCL checkpoint as the CoDe release, which builds on TCL, lets expect it.

    Args:
        model: One of our CoDe models; what CoDe added to TCL is left out.
        wrapper: What may stand between the encoders' names and the towers'.
    """
    state = {'pamr.aff_x.kernel': torch.ones(8, 1, 3, 3)}
    projection = {
        'ln_post.weight': 'clip_proj.ln.weight',
        'ln_post.bias': 'clip_proj.ln.bias',
        'proj': 'clip_proj.proj',
    }
    for name, value in model.state_dict().items():
        name = _old_name(name)
        if name.startswith('backbone.visual.'):
            name = name.removeprefix('backbone.visual.')
            state[f'clip_image_encoder.{projection.get(name, f"clip_visual.{name}")}'] = value
        elif name.startswith('backbone.text.'):
            state[f'clip_text_encoder.{wrapper}{name.removeprefix("backbone.text.")}'] = value
        elif not name.startswith((*_OF_CODE, 'losses.region_word.', 'backbone.')):
            state[_released_name(name)] = value
    return _wrapped(state)
