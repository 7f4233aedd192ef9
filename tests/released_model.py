"""The model of a golden folder: our own config, with its sizes and constants from the index."""

import torch
from mmengine.config import Config
from tiny_configs import CONFIGS
from tiny_model import caption_sample

from code_mm.models import segmentors  # noqa: F401
from code_mm.registry import MODELS
from code_mm.vocabulary import get_templates
from code_mm.weights.segmentor_layouts import convert_release_weights, rename_own

# The release's loss terms -> ours, and the constants that weigh them.
TERMS = {
    'kg_loss': ('knowledge_guided', 'w_kg'),
    'hlf_noun_loss': ('region_feature', 'w_tcl'),
    'hli_noun_loss': ('region_image', 'w_tcl'),
    'tv_img_loss': ('feature_variation', 'w_tv'),
    'tv_mask_loss': ('mask_variation', 'w_tv'),
    'area_loss': ('area', 'w_pos_area'),
    'neg_area_loss': ('negative_area', 'w_neg_area'),
    'tseg_loss': ('word_segmentation', 'w_tseg'),
    'hcl_loss': ('region_word', 'w_hcl'),
}
LOSS_NAMES = {term: f'loss_{own}' for term, (own, _) in TERMS.items()}
IMAGE_LOSSES = [name for name in LOSS_NAMES if name not in ('tseg_loss', 'hcl_loss')]


def release_state(checkpoint):
    return torch.load(checkpoint, weights_only=True)['model']


def clip_sizes(index):
    """Constructor arguments of CLIP from the index."""
    tiny = index['tiny_clip']
    return dict(
        embed_dim=tiny['embed_dim'],
        image_size=tiny['image_resolution'],
        patch_size=tiny['vision_patch_size'],
        vision_width=tiny['vision_width'],
        vision_layers=tiny['vision_layers'],
        vision_heads=tiny['vision_heads'],
        context_length=tiny['context_length'],
        vocab_size=tiny['vocab_size'],
        text_width=tiny['transformer_width'],
        text_layers=tiny['transformer_layers'],
        text_heads=tiny['transformer_heads'],
    )


def model_config(index, checkpoint, text=True, sync=True, **head):
    """Config of the CoDe segmentor; ``text=False`` leaves the text decomposition out."""
    constants = index['model_constants']
    masker, decoder = constants['masker'], constants['text_decoder']
    model = Config.fromfile(CONFIGS / '_base_/models/code_vit-b16.py').model
    model.backbone = dict(type='CLIP', **clip_sizes(index))
    model.image_segmenter.num_upsamplings = masker['decoder']['n_layers']
    parts, to_mask = model.co_decomposition, masker['sim2mask']
    parts.noun_prompt.num_contexts = constants['n_ctx']
    parts.similarity_to_mask.update(init_scale=to_mask['init_w'], init_bias=to_mask['init_b'])
    parts.similarity_to_mask.temperature = to_mask['gumbel_tau']
    parts.region_prompt.image_size = release_state(checkpoint)['learnable_image_bg'].shape[-1]
    parts.text_segmenter.update(num_layers=decoder['layers'], text_heads=decoder['heads'])
    for own, weight in TERMS.values():
        parts.losses[own].loss_weight = constants[weight]
    parts.losses.area.prior = constants['pos_area']
    for own in ('region_feature', 'area', 'negative_area', 'word_segmentation'):
        parts.losses[own].sync = sync
    if not text:
        parts.losses.update(word_segmentation=None, region_word=None)
        parts.update(text_segmenter=None, word_prompt=None)
    model.update(decode_head=dict(type='ZeroShotHead', **head), test_cfg=dict(mode='whole'))
    del model.data_preprocessor
    return model


def build_released_model(index, checkpoint, text=True, sync=True, **head):
    """The segmentor with the weights of a release checkpoint, all of them used."""
    model = MODELS.build(model_config(index, checkpoint, text, sync, **head))
    converted, own = convert_release_weights(release_state(checkpoint)), model.state_dict()
    model.load_state_dict({k: v for k, v in converted.items() if text or k in own})
    return model


def caption_samples(index, captions, nouns, all_nouns, templates, labels=None):
    """Data samples of b captions, with [k][b] selected nouns.

    Args:
        all_nouns: nouns of every caption; not needed with ``labels`` [b, l].
        templates: indices into the 80 of ImageNet, noun slot outermost; fewer are taken again.
    """
    length = index['tiny_clip']['context_length']
    lengths = length, length - index['model_constants']['n_ctx']
    b, sentences, samples = len(captions), get_templates('imagenet'), []
    for i, caption in enumerate(captions):
        chosen = [slot[i] for slot in nouns]
        picked = [sentences[templates[(j * b + i) % len(templates)]] for j in range(len(nouns))]
        samples.append(caption_sample(caption, all_nouns and all_nouns[i], chosen, picked, lengths))
        if labels is not None:
            samples[-1].set_field(labels[i], 'token_labels')
    return samples


def fix_noise(model, uniform_noise, columns=0):
    """Let the hard masks use given noise [n, m, h, w]; own nouns begin at column ``columns``."""
    pair = torch.arange(len(uniform_noise))
    own = uniform_noise[pair, pair + columns, None]
    model.similarity_to_mask.sample_noise = lambda similarity: own


def own_name(model, released_name):
    """Our name of a parameter of the release."""
    names = dict(model.named_parameters())
    return next(
        iter(rename_own(convert_release_weights({released_name: torch.ones(1, 1, 1)}), names))
    )
