"""Contrastive pre-training of a (small) CLIP inside MMEngine's runner."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.model import BaseModel
from mmseg.structures import SegDataSample
from mmseg.utils import get_predefined_templates
from torch import Tensor, nn

from code_mm.ops import gather, rank
from code_mm.registry import MODELS
from code_mm.tokenizers import CLIPTokenizer

_MAX_SCALE = 100.0


def text_positives(token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct texts of all processes, and which of them fit which image of this process.

    Small worlds repeat texts within a batch; plain InfoNCE (Radford et al., 2021) would push an
    image away from the very text that describes it. Here every text counts once, and every image
    that has it is its positive.

    Args:
        token_ids (Tensor): int64 [b, p, l], the texts of each image (repetitions do not count).

    Returns:
        Distinct texts int64 [u, l], and 0/1 matrix [b, u] of what fits.
    """
    everyone = gather(token_ids)
    texts, inverse = everyone.flatten(0, 1).unique(dim=0, return_inverse=True)
    fits = torch.zeros(len(everyone), len(texts), device=token_ids.device)
    fits.scatter_(1, inverse.view(len(everyone), -1), 1.0)
    return texts, fits[rank() * len(token_ids) :][: len(token_ids)]


def multi_positive_info_nce(image: Tensor, text: Tensor, fits: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE in which an image has several texts and a text several images.

    Either softmax is compared with equal shares for all positives. Images come from all processes.

    Args:
        image (Tensor): Unit embeddings [b, c] of this process.
        text (Tensor): Unit embeddings [u, c], the same in all processes.
        fits (Tensor): 0/1 matrix [b, u].
        scale (Tensor): Inverse temperature, 0-d.

    Returns:
        0-d; the mean over processes is the loss of the joined batch.
    """
    to_text = F.cross_entropy(scale * image @ text.T, fits / fits.sum(1, keepdim=True))
    fits = gather(fits).T
    to_image = F.cross_entropy(scale * text @ gather(image).T, fits / fits.sum(1, keepdim=True))
    return (to_text + to_image) / 2


@MODELS.register_module()
class CLIPPretrainer(BaseModel):
    """Train both towers of a CLIP on images and captions from nothing.

    Samples carry ``positive_ids`` [p, l], the texts that fit an image (p the same within a batch);
    optional metainfo ``position_window`` (row, column) says which part of the position grid an
    image smaller than ``image_size`` takes, so that small crops train all positions. Texts are cut
    at the longest one of the batch and equal texts are encoded once.

    Args:
        clip (dict): Config of :class:`CLIP` (``frozen=False``). With ``vocabulary`` its
            ``vocab_size`` is replaced by the number of tokens in use.
        vocabulary (Sequence[str], optional): Texts that hold every token of the captions. The
            49408-row token embedding then shrinks to the rows in use (``token_ids`` keeps their
            places; the export tool puts them back). None keeps all rows.
        vocabulary_templates (str, optional): Name of a template set whose words join
            ``vocabulary``.
        nouns (Sequence[str]): Nouns that :meth:`predict` scores images against.
        template (str): Text in which :meth:`predict` puts a noun.
        autocast_dtype (str, optional): ``'bfloat16'`` or ``'float16'`` for the towers' products, or
            None.
        data_preprocessor (dict, optional): Normalises images.

    Raises:
        ValueError: A frozen CLIP, or a caption with a token outside ``vocabulary``.
    """

    def __init__(
        self,
        clip: dict,
        vocabulary: Sequence[str] | None = None,
        vocabulary_templates: str | None = None,
        nouns: Sequence[str] = (),
        template: str = 'a {}.',
        autocast_dtype: str | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if clip.get('frozen', True):
            raise ValueError('expected clip.frozen=False to pre-train it, but got a frozen CLIP')
        token_ids = None
        if vocabulary is not None:
            texts = list(vocabulary)
            if vocabulary_templates is not None:
                texts += get_predefined_templates(vocabulary_templates)
            # 0, the padding, too
            token_ids = CLIPTokenizer().tokenize([t.replace('{}', '') for t in texts]).unique()
            clip = dict(clip, vocab_size=len(token_ids))
        self.clip = MODELS.build(clip)
        self.register_buffer('token_ids', token_ids)
        self.nouns, self.template = tuple(nouns), template
        self.autocast_dtype = autocast_dtype and getattr(torch, autocast_dtype)
        native = getattr(
            torch.cpu, '_is_avx512_bf16_supported', lambda: True
        )  # torch 2.1 cannot tell
        if autocast_dtype == 'bfloat16' and get_device() == 'cpu' and not native():
            warnings.warn(
                'this processor only emulates bfloat16, which is about ten times slower than full '
                'precision: --cfg-options model.autocast_dtype=None'
            )

    def forward(self, inputs: Tensor, data_samples: list[SegDataSample], mode: str = 'loss'):
        """Dispatch to :meth:`loss` or :meth:`predict`, by ``mode``."""
        return {'loss': self.loss, 'predict': self.predict}[mode](inputs, data_samples)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict:
        """Contrast a batch [b, 3, H, W] with its captions."""
        ids = torch.stack([sample.positive_ids for sample in data_samples])
        texts, fits = text_positives(ids)
        window = data_samples[0].metainfo.get('position_window', (0, 0))
        image, text = self.embed_images(inputs, window), self.embed_texts(texts)
        scale = self.clip.logit_scale.exp().clamp(max=_MAX_SCALE)
        with torch.no_grad():
            top1 = fits.gather(1, (image @ text.T).argmax(1, keepdim=True)).mean()
        return {
            'loss_contrastive': multi_positive_info_nce(image, text, fits, scale),
            'top1': top1,
            'scale': scale.detach(),
        }

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: list[SegDataSample]) -> list[SegDataSample]:
        """Write ``noun_scores``, cosines with ``nouns``, into the samples."""
        ids = self.clip.tokenize([self.template.format(n) for n in self.nouns])
        scores = self.embed_images(inputs) @ self.embed_texts(ids.to(inputs.device)).T
        for sample, row in zip(data_samples, scores, strict=True):
            sample.noun_scores = row
        return data_samples

    def embed_texts(self, ids: Tensor) -> Tensor:
        """Unit embeddings [b, c] of texts given as CLIP's token ids [b, l]."""
        ids = self._own_ids(ids[:, : int(ids.argmax(1).max()) + 1])
        with self._autocast(ids.device):
            embed = self.clip.encode_text(ids)
        return F.normalize(embed.float(), dim=-1)

    def embed_images(self, image: Tensor, window: tuple = (0, 0)) -> Tensor:
        """Unit embeddings [b, c] of images [b, 3, H, W].

        Args:
            image (Tensor): Normalised images.
            window (tuple): First (row, column) of the position grid that the image's patches take.
        """
        with self._autocast(image.device):
            if image.shape[-1] == self.clip.visual.base_grid * self.clip.visual.patch_size:
                embed = self.clip.encode_image(image)
            else:
                embed = _encode_window(self.clip.visual, image, window)
        return F.normalize(embed.float(), dim=-1)

    def _autocast(self, device: torch.device):
        dtype = self.autocast_dtype
        return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def _own_ids(self, ids: Tensor) -> Tensor:
        """Rows of the shrunken embedding, in the same order: the end token stays the highest."""
        if self.token_ids is None:
            return ids
        rows = torch.searchsorted(self.token_ids, ids.contiguous())
        rows = rows.clamp(max=len(self.token_ids) - 1)
        known = (self.token_ids[rows] == ids) | (ids == 0)
        if not known.all():
            raise ValueError(
                f'expected captions of the vocabulary, but got token {int(ids[~known][0])}; '
                'add its word to vocabulary'
            )
        return rows


def _encode_window(visual: nn.Module, image: Tensor, window: tuple) -> Tensor:
    """CLIP's class-token embedding with a window of the position grid, not interpolated."""
    patches = visual.conv1(image)
    height, width = patches.shape[2:]
    grid = visual.positional_embedding[1:].unflatten(0, (visual.base_grid, visual.base_grid))
    part = grid[window[0] : window[0] + height, window[1] : window[1] + width]
    if part.shape[:2] != (height, width):
        raise ValueError(
            f'expected a window of {height} x {width} patches inside the position grid of '
            f'{visual.base_grid} x {visual.base_grid}, but got it at {tuple(window)}'
        )
    first = (visual.class_embedding + visual.positional_embedding[0]).expand(len(image), 1, -1)
    tokens = torch.cat([first, patches.flatten(2).transpose(1, 2) + part.flatten(0, 1)], dim=1)
    return visual.ln_post(visual.transformer.read(visual.ln_pre(tokens), 0)) @ visual.proj
