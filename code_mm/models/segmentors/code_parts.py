"""Building and checking the parts of a CoDe segmentor."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from code_mm.models.backbones.clip import CLIPImageEncoder, CLIPTextEncoder
from code_mm.registry import MODELS
from code_mm.tokenizers import tokenize

from ..heads import embed_class_names

_LOSSES = (
    'knowledge_guided',
    'region_feature',
    'region_image',
    'feature_variation',
    'mask_variation',
    'area',
    'negative_area',
    'word_segmentation',
    'region_word',
)


def build_part(cfg: dict | None, **sizes: int) -> nn.Module | None:
    """Build a part; sizes that follow from CLIP need not stand in the config."""
    return MODELS.build({**sizes, **cfg}) if cfg else None


def build_image_segmenter(cfg: dict, visual: CLIPImageEncoder) -> nn.Module:
    """The image segmenter, whose block is a copy of CLIP's last one."""
    sizes = {key: getattr(visual, key) for key in ('width', 'heads', 'embed_dim', 'activation')}
    return build_part(cfg, **sizes)


def embed_phrases(
    phrases: Sequence[str],
    text: CLIPTextEncoder,
    prompt: nn.Module | None,
    templates: Sequence[str],
) -> Tensor:
    """Unit-length embeddings [phrases, c]: behind learnt contexts, or in templates without any."""
    if prompt is None or prompt.num_contexts == 0:
        return embed_class_names(text, phrases, templates)
    length = text.context_length - prompt.num_contexts
    ids = tokenize(phrases, length, truncate=False)
    return prompt(ids.to(prompt.contexts.device), text)


def check_parts(model: nn.Module) -> None:
    """Raise a ValueError for keys of a CoDe segmentor that do not go together."""
    unknown = sorted(model.losses.keys() - set(_LOSSES))
    if unknown:
        raise ValueError(f'expected losses among {_LOSSES}, but got {unknown}')
    if model.alignment_text not in ('highlighted', 'noun'):
        raise ValueError(
            f"expected alignment_text 'highlighted' or 'noun', but got {model.alignment_text!r}"
        )
    if model.text_segmenter is None and 'word_segmentation' in model.losses:
        raise ValueError('the loss word_segmentation needs a text_segmenter; add one or drop it')
    highlighted = 'region_word' in model.losses and model.alignment_text == 'highlighted'
    if highlighted and (model.text_segmenter is None or model.word_prompt is None):
        raise ValueError(
            'the loss region_word on highlighted texts needs a text_segmenter and a '
            "word_prompt; add them, drop the loss, or set alignment_text='noun'"
        )
    text = model.backbone.text
    if model.text_segmenter is not None and text.width != text.embed_dim:
        raise ValueError(
            'expected a text tower as wide as the joint embedding, since words are compared '
            f'with nouns directly, but got {text.width} and {text.embed_dim}'
        )
