"""Class names and their embeddings as one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from code_mm.ops import l2_normalize

# Texts encoded at a time; bounds the memory for long class lists.
_BATCH = 256


@dataclass(frozen=True)
class Vocabulary:
    """The classes that are looked for, made by :func:`embed_vocabulary`.

    Attributes:
        names (tuple[str, ...]): All class names in label order, 'background' first where there is
            a threshold.
        synonyms (tuple[tuple[str, ...], ...]): Phrases of every class but that background.
        embeddings (Tensor): Unit-length embeddings [phrases, c], class after class.
        background_threshold (float, optional): Score of the background plane in (0, 1).
        template_embeddings (Tensor, optional): The same phrases in hand-written templates, for
            the knowledge-preserving mix.
    """

    names: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]
    embeddings: Tensor
    background_threshold: float | None = None
    template_embeddings: Tensor | None = None

    def best_synonym(self, scores: Tensor) -> Tensor:
        """Maximum over the synonyms of every class: [b, phrases, h, w] -> [b, classes, h, w]."""
        counts = [len(phrases) for phrases in self.synonyms]
        if max(counts) == 1:
            return scores
        return torch.stack([part.amax(dim=1) for part in scores.split(counts, dim=1)], dim=1)

    def add_background(self, scores: Tensor, value: float | None = None) -> Tensor:
        """Put the background plane in front of [b, classes, h, w], where there is one.
        ``value`` is the plane's score, ``background_threshold`` by default.
        """
        if self.background_threshold is None:
            return scores
        value = self.background_threshold if value is None else value
        return torch.cat([torch.full_like(scores[:, :1], value), scores], dim=1)


@torch.no_grad()
def embed_vocabulary(
    names: Sequence[str],
    backbone: nn.Module,
    prompt: nn.Module | None = None,
    templates: Sequence[str] = ('{}',),
    background_threshold: float | None = None,
    mix_templates: Sequence[str] | None = None,
    raw_template_mean: bool = False,
) -> Vocabulary:
    """Embed class names.

    Args:
        names (Sequence[str]): In label order; 'car|automobile' gives synonyms.
        backbone (VisionLanguageBackbone): Its text tower embeds.
        prompt (nn.Module, optional): Learnt contexts in front of every phrase, a
            ``NounContextPrompt``; without any the phrases are put into ``templates``.
        templates (Sequence[str]): Sentences with one ``{}`` each.
        background_threshold (float, optional): The first name is then 'background'.
        mix_templates (Sequence[str], optional): Those of the knowledge-preserving mix.
        raw_template_mean (bool): See :func:`embed_in_templates`.

    Raises:
        ValueError: As :func:`split_names`; or a name is too long for the text tower.
    """
    synonyms = split_names(names, background_threshold is not None)
    phrases = [phrase for of_class in synonyms for phrase in of_class]
    if getattr(prompt, 'num_contexts', 0) > 0:
        ids = tokenize_phrases(phrases, backbone, prompt)
        embeddings = prompt(ids.to(prompt.contexts.device), backbone)
    else:
        embeddings = embed_in_templates(phrases, backbone, templates, raw_template_mean)
    return Vocabulary(
        tuple(names),
        synonyms,
        embeddings,
        background_threshold,
        mix_templates and embed_in_templates(phrases, backbone, mix_templates, raw_template_mean),
    )


@torch.no_grad()
def embed_in_templates(
    phrases: Sequence[str], backbone: nn.Module, templates: Sequence[str], raw_mean: bool = False
) -> Tensor:
    """Mean over templates of unit-length text embeddings, brought to unit length again: [n, c].

    With ``raw_mean`` the embeddings keep their lengths in the mean, as in TCL's release.
    """
    ids = tokenize_phrases(phrases, backbone, None, templates)
    # what stands behind the end of the longest text has no influence
    ids = ids[:, : int(backbone.text_lengths(ids).max())]
    device = backbone.logit_scale.device
    embeds = torch.cat([backbone.encode_text(part.to(device)) for part in ids.split(_BATCH)])
    embeds = embeds if raw_mean else l2_normalize(embeds, dim=-1)
    embeds = embeds.unflatten(0, (len(phrases), len(templates)))
    return l2_normalize(embeds.mean(dim=1), dim=-1)


def tokenize_phrases(
    phrases: Sequence[str],
    backbone: nn.Module,
    prompt: nn.Module | None,
    templates: Sequence[str] = ('{}',),
) -> Tensor:
    """Token ids of every phrase as it is embedded: behind the contexts, or in each template."""
    if (contexts := getattr(prompt, 'num_contexts', 0)) > 0:
        return backbone.tokenize(phrases, backbone.context_length - contexts, truncate=False)
    sentences = [t.replace('{}', phrase) for phrase in phrases for t in templates]
    return backbone.tokenize(sentences, truncate=False)


def split_names(names: Sequence[str], background: bool) -> tuple[tuple[str, ...], ...]:
    """Synonyms of every class; with ``background``, of all but the first, which must be that.

    Raises:
        ValueError: A name is empty; the first is not 'background' though it should be; or a single
            class is left with nothing to compare it with.
    """
    # A single string would fall into its letters.
    listed = [] if isinstance(names, str) else list(names)
    split = [name.split('|') if isinstance(name, str) else [] for name in listed]
    phrases = [tuple(p.strip() for p in of_class if p.strip()) for of_class in split]
    if not listed or not all(phrases):
        raise ValueError(f'expected a list of non-empty class names, but got {names!r}')
    if background and (listed[0] != 'background' or len(listed) < 2):
        raise ValueError(
            "expected 'background' as the first of at least two class names because "
            f'background_threshold is set, but got {listed[:5]}; set background_threshold=None '
            'for a data set without background class'
        )
    if len(listed) == 1:
        raise ValueError(
            f'expected at least two classes, but got {listed}: every pixel would be this class; '
            "add a class, or 'background' in front and a background_threshold"
        )
    return tuple(phrases[1:] if background else phrases)
