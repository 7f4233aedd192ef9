"""EfficientNet-Lite2 and MiniLM as one vision-language backbone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from code_mm.models.backbones import ImageTail, VisionLanguageBackbone
from code_mm.registry import MODELS, TOKENIZERS
from code_mm.weights import LoadReport, read_tensors
from code_mm.weights.model_weights import pretrained_file, require_finite

from .image_tower import ImageTower, head
from .text_tower import TextTower

_CHANNELS = 1280
_TOWERS = ('visual.', 'text.')


class EfficientNetTail(ImageTail):
    """Trainable copies of the last block and of the convolution behind it.

    Their norms keep ImageNet's statistics; scales and shifts learn.
    """

    def __init__(self, backbone: EfficientNetMiniLM) -> None:
        super().__init__()
        self.parts = backbone.visual.copy_of_head()
        self.register_buffer('feature_mean', backbone.feature_mean.detach().clone())
        self.width = self.parts['_conv_head'].in_channels
        self.eval()

    def train(self, mode: bool = True) -> EfficientNetTail:
        """Stay as in evaluation, so that the norms keep their statistics."""
        return super().train(False)

    def last_block(self, trunk: Tensor) -> Tensor:
        return self.parts['_last'](trunk)

    def project(self, features: Tensor) -> Tensor:
        return head(self.parts, features) - self.feature_mean[:, None, None]


def text_head(width: int, head_width: int | None = None) -> nn.Module:
    """From sentences [n, width] to the joint space [n, c], by a hidden layer if it has a width."""
    last = nn.Linear(head_width or width, _CHANNELS)
    return nn.Sequential(nn.Linear(width, head_width), nn.GELU(), last) if head_width else last


@MODELS.register_module()
class EfficientNetMiniLM(VisionLanguageBackbone):
    """ImageNet's EfficientNet-Lite2 and the sentence encoder MiniLM, with a small head that learns.

    The joint space is that of the image features before ImageNet's classifier, less their mean: in
    it the classifier's rows, less theirs, are embeddings of the 1000 classes. A whole image is the
    mean of its cells. Texts come there from MiniLM by the head. Both towers are frozen and always
    in evaluation mode.

    Args:
        stride (int): Pixels per cell, 32 or 16 (by dilation).
        head_width (int, optional): Width of the head's hidden layer; a linear head by default.
        context_length (int): Text positions, at most 512.
        image_weights (str, optional): Weight file of EfficientNet-Lite2; the package's by default.
        text_weights (str, optional): Folder of MiniLM's files; the package's by default.
        frozen (bool): False lets head, mean and logit scale learn.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=path)``, a file of head,
            mean and logit scale. Without it the head is random and the mean 0; the towers are
            loaded nevertheless.

    Raises:
        ModuleNotFoundError: A package of the extra [photos] is not installed.
    """

    embed_dim = _CHANNELS
    image_mean = (123.675, 116.28, 103.53)
    image_std = (58.395, 57.12, 57.375)

    def __init__(
        self,
        stride: int = 32,
        head_width: int | None = None,
        context_length: int = 64,
        image_weights: str | None = None,
        text_weights: str | None = None,
        frozen: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.tokenizer = TOKENIZERS.build(dict(type='MiniLMTokenizer', folder=text_weights))
        self.visual, self.text = ImageTower(stride), TextTower(text_weights)
        self.patch_size, self.context_length = stride, context_length
        self.image_weights = image_weights
        self.text_width, self.text_heads = self.text.width, self.text.heads
        self.text_head = text_head(self.text_width, head_width)
        self.feature_mean = nn.Parameter(torch.zeros(_CHANNELS))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(50.0)))
        self.requires_grad_(not frozen)
        self.visual.requires_grad_(False)
        self.text.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> EfficientNetMiniLM:
        """Stay as in evaluation: statistics of norms are ImageNet's, nothing is dropped."""
        return super().train(False)

    def init_weights(self) -> None:
        """Load both towers, and what ``init_cfg`` names.

        Raises:
            ValueError: A file is damaged or does not fit.
        """
        self.visual.load(self.image_weights)
        self.text.load()
        if (path := pretrained_file(self)) is not None:
            self._load_learnt(path)
        self._is_init = True

    def learnt(self) -> dict[str, Tensor]:
        """What does not come with the packages: head, mean and logit scale, by their names."""
        state = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith(_TOWERS)}

    def encode_image(self, image: Tensor) -> Tensor:
        return self.dense(self.trunk(image)).mean(dim=(2, 3))

    def trunk(self, image: Tensor) -> Tensor:
        return self.visual.trunk(image)

    def dense(self, trunk: Tensor) -> Tensor:
        return self.visual.cells(trunk) - self.feature_mean[:, None, None]

    def image_tail(self) -> EfficientNetTail:
        return EfficientNetTail(self)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.text.embed_tokens(ids)

    def encode_words(self, words: Tensor, lengths: Tensor) -> Tensor:
        return self.text_head(self.text.sentences(words, lengths))

    def hidden_states(self, ids: Tensor) -> Tensor:
        return self.text.hidden_states(self.embed_tokens(ids), self.text_lengths(ids))

    def _load_learnt(self, path: str) -> None:
        state = read_tensors(path)
        report = LoadReport.compare(self, state, path, 'what projects/photos learns')
        missing = [name for name in self.learnt() if name not in state]
        if missing or report.wrong or report.unexpected:
            raise ValueError(
                f'expected {[*self.learnt()]}, but {path} lacks {missing}, has '
                f'{report.unexpected[:3]} besides and {report.wrong} of another size (own, '
                "file's); set head_width to that of the file"
            )
        require_finite(self, state, path)
        self.load_state_dict(state, strict=False)
