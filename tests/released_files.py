"""Tiny checkpoints under the names of the CoDe and TCL releases, made from one of our models."""

import re

import torch

_NETWORK = 'masker.image_encoder.decoder.decoder.net'
_RENAMES = (
    (r'co_decomposition\.region_prompt\.image', 'learnable_image_bg'),
    (r'co_decomposition\.word_prompt\.words', 'bg_text'),
    (r'co_decomposition\.text_segmenter\.scale', 'text_mask_w'),
    (r'co_decomposition\.text_segmenter\.bias', 'text_mask_b'),
    (r'co_decomposition\.text_segmenter\.', 'text_decoder.'),
    (r'co_decomposition\.noun_prompt\.contexts', 'clip_text_encoder.prompt_learner.ctx'),
    (r'co_decomposition\.similarity_to_mask\.scale', 'masker.sim2mask.w'),
    (r'co_decomposition\.similarity_to_mask\.bias', 'masker.sim2mask.b'),
    (r'co_decomposition\.losses\.region_image\.', 'tcli_loss.'),
    (r'co_decomposition\.losses\.region_feature\.', 'tclf_loss.'),
    (r'co_decomposition\.losses\.region_word\.', 'hcl_loss.'),
    (
        r'image_segmenter\.tail\.block\.',
        'masker.image_encoder.backbone.transformer.resblocks.11.',
    ),
    (r'image_segmenter\.tail\.ln_post\.', 'masker.image_encoder.decoder.image_proj.ln.'),
    (r'image_segmenter\.tail\.proj', 'masker.image_encoder.decoder.image_proj.proj'),
    (r'image_segmenter\.decoder\.(\d+)\.gate$', rf'{_NETWORK}.\1.conv.gate.gate'),
    (r'image_segmenter\.decoder\.(\d+)\.', rf'{_NETWORK}.\1.conv.'),
)
_NOT_IN_TCL = ('learnable_image_bg', 'bg_text', 'text_', 'clip_text_encoder.prompt', 'hcl_loss.')


def _released(model):
    """Everything beside CLIP, by the releases' names."""
    state = {'pamr.aff_x.kernel': torch.ones(8, 1, 3, 3)}
    for name, value in model.state_dict().items():
        if not name.startswith('backbone.'):
            own, theirs = next(pair for pair in _RENAMES if re.match(pair[0], name))
            released = re.sub(own, theirs, name)
            state[released] = value[:, None] if released == 'bg_text' else value
    return state


def _wrapped(state):
    extra = dict(optimizer=dict(state={}), lr_scheduler={}, scaler={}, step=50000)
    return dict(model=state, **extra, config={}, metrics={})


def code_release(model):
    """The content of a CoDe release checkpoint with the weights of one of our models."""
    state = _released(model)
    for name, value in model.backbone.state_dict().items():
        name = name.removeprefix('text.')
        state[f'frozen_clip.{name}'] = value
        if not name.startswith('visual.'):  # a copy, which must not be taken
            state[f'clip_text_encoder.text_encoder.{name}'] = torch.zeros_like(value)
    return _wrapped(state)


def tcl_release(model, wrapper=''):
    """A TCL checkpoint as the CoDe release, which builds on TCL, lets expect it.

    Args:
        model: One of our CoDe models; what CoDe added to TCL is left out.
        wrapper: What may stand between the encoders' names and the towers'.
    """
    state = {k: v for k, v in _released(model).items() if not k.startswith(_NOT_IN_TCL)}
    for name, value in model.backbone.visual.state_dict().items():
        theirs = re.sub('^ln_post', 'clip_proj.ln', re.sub('^proj$', 'clip_proj.proj', name))
        theirs = theirs if theirs != name else f'clip_visual.{name}'
        state[f'clip_image_encoder.{theirs}'] = value
    for name, value in model.backbone.text.state_dict().items():
        state[f'clip_text_encoder.{wrapper}{name}'] = value
    return _wrapped(state)
