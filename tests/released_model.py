"""The model of a golden folder: built, filled and fed from its index alone."""

import re

import torch
from mmengine.config import ConfigDict
from mmseg.structures import SegDataSample

from code_mm.models import segmentors  # noqa: F401
from code_mm.nouns import token_labels
from code_mm.registry import MODELS
from code_mm.tokenizers import CLIPTokenizer
from code_mm.vocabulary import get_templates
from code_mm.weights.segmentor_layouts import convert_release_weights, rename_own

# Our names of the release's loss terms.
LOSS_NAMES = {
    'kg_loss': 'loss_knowledge_guided',
    'hlf_noun_loss': 'loss_region_feature',
    'hli_noun_loss': 'loss_region_image',
    'tv_img_loss': 'loss_feature_variation',
    'tv_mask_loss': 'loss_mask_variation',
    'area_loss': 'loss_area',
    'neg_area_loss': 'loss_negative_area',
    'tseg_loss': 'loss_word_segmentation',
    'hcl_loss': 'loss_region_word',
}
IMAGE_LOSSES = [name for name in LOSS_NAMES if name not in ('tseg_loss', 'hcl_loss')]


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


def losses(constants, sync):
    """The loss modules of the index's constants."""

    def loss(kind, weight, **keys):
        return dict(type=kind, loss_weight=constants[weight], **keys)

    own = dict(of='own_masks', prior=constants['pos_area'], sync=sync)
    negative = dict(of='negative_area', prior=0.0, sync=sync)
    return dict(
        knowledge_guided=loss('KnowledgeGuidedLoss', 'w_kg'),
        region_feature=loss('RegionInfoNCELoss', 'w_tcl', sync=sync),
        region_image=loss('InfoNCELoss', 'w_tcl', text='nouns'),
        feature_variation=loss('TotalVariationLoss', 'w_tv', of='features'),
        mask_variation=loss('TotalVariationLoss', 'w_tv', of='masks'),
        area=loss('AreaLoss', 'w_pos_area', **own),
        negative_area=loss('AreaLoss', 'w_neg_area', **negative),
        word_segmentation=loss('TextSegmentationLoss', 'w_tseg', sync=sync),
        region_word=loss('InfoNCELoss', 'w_hcl', text='text_embed'),
    )


def model_config(index, prompt_size, text=True, sync=True, background_threshold=None, **head):
    """Config of the CoDe segmentor; ``text=False`` leaves the text decomposition out."""
    constants = index['model_constants']
    masker, decoder = constants['masker'], constants['text_decoder']
    parts = losses(constants, sync)
    segmenter = dict(
        type='TextSegmenter', num_layers=decoder['layers'], text_heads=decoder['heads']
    )
    if not text:
        parts.update(word_segmentation=None, region_word=None)
    return dict(
        type='CoDeSegmentor',
        backbone=dict(type='CLIP', **clip_sizes(index)),
        image_segmenter=dict(type='ImageSegmenter', num_upsamplings=masker['decoder']['n_layers']),
        co_decomposition=dict(
            type='CoDecomposition',
            noun_prompt=dict(type='NounContextPrompt', num_contexts=constants['n_ctx']),
            similarity_to_mask=dict(
                type='SimilarityToMask',
                init_scale=masker['sim2mask']['init_w'],
                init_bias=masker['sim2mask']['init_b'],
                temperature=masker['sim2mask']['gumbel_tau'],
            ),
            region_prompt=dict(type='RegionHighlightingPrompt', image_size=prompt_size),
            text_segmenter=segmenter if text else None,
            word_prompt=dict(type='WordHighlightingPrompt') if text else None,
            losses=parts,
        ),
        decode_head=dict(type='ZeroShotHead', **head),
        background_threshold=background_threshold,
        test_cfg=ConfigDict(mode='whole'),
    )


def build_released_model(index, checkpoint, text=True, sync=True, **kwargs):
    """The segmentor with the weights of a release checkpoint, all of them used."""
    state = torch.load(checkpoint, weights_only=True)['model']
    config = model_config(
        index, state['learnable_image_bg'].shape[-1], text=text, sync=sync, **kwargs
    )
    model = MODELS.build(config)
    converted = convert_release_weights(state)
    if not text:
        left_out = r'co_decomposition\.(text_segmenter|word_prompt|losses\.region_word)\.'
        converted = {k: v for k, v in converted.items() if not re.match(left_out, k)}
    model.load_state_dict(converted)
    return model


def caption_samples(index, captions, nouns, all_nouns, templates, labels=None):
    """Data samples as the transforms make them.

    Args:
        index: the golden index.
        captions: b strings.
        nouns: [k][b] selected nouns.
        all_nouns: nouns of every caption.
        templates: indices into the 80 ImageNet templates, noun slot outermost; taken over again
            where there are fewer than k * b.
        labels: token labels [b, l]; computed where None.
    """
    tokenizer, length = CLIPTokenizer(), index['tiny_clip']['context_length']
    noun_length = length - index['model_constants']['n_ctx']
    sentences = get_templates('imagenet')
    samples = []
    for i, caption in enumerate(captions):
        chosen = [slot[i] for slot in nouns]
        picked = [templates[(j * len(captions) + i) % len(templates)] for j in range(len(nouns))]
        sample = SegDataSample(metainfo=dict(caption=caption, selected_nouns=chosen))
        ids = tokenizer.tokenize(caption, length)[0]
        own = (
            labels[i] if labels is not None else token_labels(ids, all_nouns[i], chosen, tokenizer)
        )
        sample.set_field(ids, 'caption_ids')
        sample.set_field(own, 'token_labels')
        sample.set_field(tokenizer.tokenize(chosen, noun_length), 'noun_ids')
        guides = [sentences[t].format(noun) for t, noun in zip(picked, chosen, strict=True)]
        sample.set_field(tokenizer.tokenize(guides, length), 'guide_ids')
        samples.append(sample)
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


def own_parameter(model, released_name):
    """Our parameter of a name in the release."""
    return dict(model.named_parameters())[own_name(model, released_name)]


def own_gradient(model, released_name, like):
    """The gradient under the release's name, in the release's shape."""
    grad = own_parameter(model, released_name).grad
    assert grad is not None, f'{released_name} received no gradient'
    return grad.reshape(like.shape)


def own_loss(values, released_name):
    """A loss term by its name in the release."""
    return values[LOSS_NAMES[released_name]]
