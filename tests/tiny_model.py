"""A CoDe model small enough to be built and run in milliseconds, with random weights."""

from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmseg.structures import SegDataSample

import code_mm.models  # noqa: F401
from code_mm.nouns import token_labels
from code_mm.registry import MODELS
from code_mm.tokenizers import CLIPTokenizer

SIZES = dict(
    embed_dim=32,
    image_size=32,
    patch_size=8,
    vision_width=48,
    vision_layers=3,
    vision_heads=3,
    context_length=24,
    text_width=32,
    text_layers=2,
    text_heads=2,
)
CONTEXTS = 4
CAPTIONS = ('a red star on the grass', 'a boat and a fish, by a house')
NOUNS = (('star', 'grass'), ('boat', 'fish', 'house'))
SELECTED = (('grass', 'star'), ('boat', 'house'))
# an ordinary backbone of mmseg: 64 channels
RESNET = dict(
    type='ResNetV1c',
    depth=18,
    stem_channels=8,
    base_channels=8,
    out_indices=(3,),
    strides=(1, 1, 2, 1),
    norm_eval=True,
)
CODE = Path(__file__).parents[1] / 'configs/_base_/models/code_vit-b16.py'
LOSSES = Config.fromfile(CODE).model.co_decomposition.losses.to_dict()


@torch.no_grad()
def randomise(module, seed=0, std=0.1):
    """Move every parameter away from its start value, so that none is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.add_(std * torch.randn(parameter.shape, generator=generator))
    return module


def build(config, seed):
    """A module with weights that follow from the seed, none of them 0 or 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return randomise(MODELS.build(config), seed)


def tiny_clip(seed=0, **sizes):
    """A frozen CLIP."""
    return build(dict(type='CLIP', **{**SIZES, **sizes}), seed)


class Step:
    """Stands for a ``CoDecompositionStep`` with given values."""

    def __init__(self, **values):
        vars(self).update(values)

    def value(self, name):
        return getattr(self, name)


def openai_state(clip):
    """The weights of a CLIP under OpenAI's names: the text tower stands at the top level."""
    return {k.removeprefix('text.'): v.clone() for k, v in clip.state_dict().items()}


def co_decomposition(**keys):
    """Config of the tiny ``CoDecomposition``."""
    config = dict(
        type='CoDecomposition',
        noun_prompt=dict(type='NounContextPrompt', num_contexts=CONTEXTS),
        region_prompt=dict(type='RegionHighlightingPrompt', image_size=32),
        text_segmenter=dict(type='TextSegmenter'),
        word_prompt=dict(type='WordHighlightingPrompt'),
        losses=LOSSES,
    )
    return {**config, **keys}


def code_config(parts=None, **keys):
    """Config of the tiny CoDe segmentor; ``parts`` are keys of its ``co_decomposition``."""
    config = dict(
        type='CoDeSegmentor',
        backbone=dict(type='CLIP', **SIZES),
        image_segmenter=dict(type='ImageSegmenter'),
        co_decomposition=co_decomposition(**(parts or {})),
        decode_head=dict(type='ZeroShotHead'),
        test_cfg=dict(mode='whole'),
    )
    return ConfigDict({**config, **keys})


def tiny_code(seed=0, **keys):
    """A CoDe segmentor whose every parameter is away from its start value."""
    return build(code_config(**keys), seed)


def caption_sample(caption, nouns, selected, templates, lengths):
    """A sample as the transforms make them; without all its nouns it gets no labels."""
    tokenizer, (length, noun_length) = CLIPTokenizer(), lengths
    guides = [t.format(noun) for t, noun in zip(templates, selected, strict=True)]
    fields = dict(
        caption_ids=tokenizer.tokenize(caption, length)[0],
        noun_ids=tokenizer.tokenize(selected, noun_length),
        guide_ids=tokenizer.tokenize(guides, length),
    )
    if nouns:
        ids = fields['caption_ids']
        fields['token_labels'] = token_labels(ids, list(nouns), list(selected), tokenizer)
    sample = SegDataSample(metainfo=dict(sample_key=caption[:6], caption=caption))
    for name, value in fields.items():
        sample.set_field(value, name)
    return sample


def caption_samples():
    """Samples that fit the tiny models."""
    lengths = SIZES['context_length'], SIZES['context_length'] - CONTEXTS
    rows = zip(CAPTIONS, NOUNS, SELECTED, strict=True)
    return [caption_sample(*row, ['a photo of a {}.'] * len(row[2]), lengths) for row in rows]


def metas(image):
    """mmseg's metainfo of images [b, 3, H, W] that were not resized."""
    shape = tuple(image.shape[2:])
    return [dict(img_shape=shape, ori_shape=shape) for _ in image]


def images(*shape, seed=1):
    """Normalised images [b, 3, H, W]; ``images(2, 32, 48)``."""
    b, height, width = shape
    return torch.randn(b, 3, height, width, generator=torch.Generator().manual_seed(seed))
