"""How an untrained backbone is read: rows for known names, the whole image's word in every cell."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from code_mm.models.heads import ZeroShotHead
from code_mm.models.prompts import NounContextPrompt
from code_mm.models.segmenters import SimilarityToMask
from code_mm.models.segmentors import ZeroShotSegmentor
from code_mm.ops import l2_normalize
from code_mm.registry import MODELS
from code_mm.vocabulary import Vocabulary

from .backbone import EfficientNetMiniLM
from .name_table import centred_rows, shipped_names


@MODELS.register_module()
class RowsSegmentor(ZeroShotSegmentor):
    """A ``ZeroShotSegmentor`` that embeds known names by rows of ImageNet's classifier.

    Which names those are, and by which rows, says ``name_table.py``; all others are embedded by the
    text tower in ``templates``. The ``backbone`` is an ``EfficientNetMiniLM``.

    Args:
        whole_sides (Sequence[int]): Sides, in pixels, of squares as which the whole image is read
            besides, near those of ImageNet's training; for a ``WholeImageHead``.
        *args, **kwargs: Those of ``ZeroShotSegmentor``.
    """

    def __init__(self, *args, whole_sides: Sequence[int] = (), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.whole_sides = tuple(whole_sides)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the cells [b, c, h, w], and of the whole images [b, c, 1, 1].

        The latter are the mean of the readings at all sizes, each at unit length.
        """
        cells = self.backbone.dense(self.backbone.trunk(inputs))
        whole = [l2_normalize(cells.mean(dim=(2, 3)), dim=1)]
        for side in self.whole_sides:
            square = F.interpolate(inputs, (side, side), mode='bilinear', antialias=True)
            whole.append(l2_normalize(self.backbone.encode_image(square), dim=1))
        return cells, torch.stack(whole).mean(dim=0)[..., None, None]

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that are looked for, embedded when first asked for."""
        if self._vocabulary is None:
            vocabulary = super().vocabulary
            phrases = [phrase for of_class in vocabulary.synonyms for phrase in of_class]
            _warn_of_unseen(phrases)
            embeddings = by_rows(vocabulary.embeddings, phrases, self.backbone)
            self._vocabulary = replace(vocabulary, embeddings=embeddings)
        return self._vocabulary


def _warn_of_unseen(names: Sequence[str]) -> None:
    if unseen := shipped_names().unseen(names):
        listed = ', '.join(map(repr, unseen))
        print_log(
            f"no photograph of {listed} was ever seen: neither by ImageNet's classifier nor in a "
            'caption; what is found is guessed from the words',
            logger='current',
            level=logging.WARNING,
        )


@torch.no_grad()
def by_rows(embeddings: Tensor, names: Sequence[str], backbone: EfficientNetMiniLM) -> Tensor:
    """Unit-length embeddings [n, c] of names, those that ``shipped_names`` knows by their rows.

    The embedding of rows is their mean, each less the mean of all and at unit length; what is not
    known keeps its embedding.
    """
    rows = centred_rows(backbone.visual.class_weights)
    embeddings = embeddings.clone()
    for place, name in enumerate(names):
        if known := shipped_names().rows(name):
            embeddings[place] = l2_normalize(rows[list(known)].mean(dim=0), dim=0)
    return embeddings


@MODELS.register_module()
class RowsNounPrompt(NounContextPrompt):
    """A ``NounContextPrompt`` that embeds the nouns it knows by rows of ImageNet's classifier.

    Contexts are learnt from the other nouns; the rows stay.
    """

    def forward(self, noun_ids: Tensor, backbone: EfficientNetMiniLM) -> Tensor:
        """Unit-length embeddings [n, c] of nouns [n, l_noun]."""
        embeddings = super().forward(noun_ids, backbone)
        names = [backbone.tokenizer.decode(ids) for ids in noun_ids.tolist()]
        known = by_rows(torch.zeros_like(embeddings), names, backbone)
        return torch.where(known.any(dim=-1, keepdim=True), known, embeddings)


@MODELS.register_module()
class WholeImageHead(ZeroShotHead):
    """A ``ZeroShotHead`` that predicts by what the whole image has of a name, too.

    Whatever is in a photograph somewhere is likelier everywhere in it. That is told by the cosine
    of the whole image, the mean of the last input's features, and by that of the best cell. Both
    are added to every cell's; but a cell that does not look like the name itself gets none of it.
    So is the logarithm of how many photographs show such a thing, by the training captions.

    Args:
        image_weight (float): Factor on the whole image's cosine, >= 0.
        best_cell_weight (float): Factor on the best cell's cosine, >= 0.
        share_weight (float): Factor on the logarithm of the share of photographs, >= 0; the inverse
            of the masks' scale makes it the prior of their softmax.
        least_cosine (float, optional): Masks are halved where the cell's own cosine is this, and
            fall by a factor of e every .05 below.
        upsampling (int): How many times as fine as the cells the grid of the masks is, on which a
            post-processor follows the image's edges; bilinear.
        *args, **kwargs: Those of ``ZeroShotHead``.
    """

    def __init__(
        self,
        *args,
        image_weight: float = 0.5,
        best_cell_weight: float = 0.5,
        share_weight: float = 0.0,
        least_cosine: float | None = None,
        upsampling: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if min(image_weight, best_cell_weight, share_weight) < 0:
            raise ValueError(
                f'expected weights >= 0, but got image_weight={image_weight}, '
                f'best_cell_weight={best_cell_weight} and share_weight={share_weight}'
            )
        self.image_weight, self.best_cell_weight = image_weight, best_cell_weight
        self.share_weight = share_weight
        self.least_cosine, self.upsampling = least_cosine, upsampling

    def _masks(
        self, inputs: Sequence[Tensor], vocabulary: Vocabulary, similarity_to_mask: nn.Module
    ) -> Tensor:
        cells = self._similarity(inputs, vocabulary)  # b phrases h w
        whole = l2_normalize(inputs[-1].mean(dim=(2, 3)), dim=1) @ vocabulary.embeddings.T
        there = self.image_weight * whole + self.best_cell_weight * cells.amax(dim=(2, 3))
        phrases = [phrase for of_class in vocabulary.synonyms for phrase in of_class]
        shares = [shipped_names().log_share(phrase) for phrase in phrases]
        there = there + self.share_weight * there.new_tensor(shares)
        cells = F.interpolate(cells, scale_factor=self.upsampling, mode='bilinear')
        masks = similarity_to_mask(cells + there[..., None, None])
        if self.least_cosine is not None:
            masks = masks * torch.sigmoid(20 * (cells - self.least_cosine))
        return masks


@MODELS.register_module()
class SoftmaxMask(SimilarityToMask):
    """Masks by softmax over all phrases; nothing is learnt.

    Args:
        scale (float): Factor on the cosines, > 0; the temperature is its inverse.
    """

    def __init__(self, scale: float = 50.0) -> None:
        if scale <= 0:
            raise ValueError(f'expected scale > 0, but got {scale}')
        super().__init__(scale, 0.0, learnable=False)

    def forward(self, similarity: Tensor) -> Tensor:
        """Probabilities [b, phrases, h, w] of cosines [b, phrases, h, w]."""
        # half precision has three digits, and the cosines are multiplied
        return torch.softmax(self.logits(similarity.float()), dim=1)
