"""A backbone as unlike CLIP as the interface allows trains CoDe and predicts.

No class token, no causal attention, no start token; a convolution as trunk, other special ids.
"""

import copy
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_model import CAPTIONS, NOUNS, SELECTED, build, code_config, images
from torch import nn

from code_mm.datasets.transforms import PackCaptionInputs, TokenizeCaption
from code_mm.models.backbones import ImageTail, VisionLanguageBackbone
from code_mm.registry import MODELS, TOKENIZERS
from code_mm.tokenizers import Tokenizer

END, PADDING, UNKNOWN = 1, 2, 0
WORDS = '? . _ a and boat by fish grass house of on photo red star the'.split()  # noqa: SIM905
LENGTH, CONTEXTS, WIDTH = 14, 4, 24
NAMES = ['star', 'red boat|fish', 'house']
CODE = code_config(backbone=dict(type='ConvolutionBackbone'))


@TOKENIZERS.register_module()
class WordTokenizer(Tokenizer):
    """A word a token; the end token has one of the lowest ids."""

    end_id = END
    padding_id = PADDING

    def encode(self, text):
        known = {word: i for i, word in enumerate(WORDS)}
        return [known.get(word, UNKNOWN) for word in re.findall(r'\w+', text.lower())]


class ConvolutionTail(ImageTail):
    width = 20

    def __init__(self, backbone):
        super().__init__()
        self.last, self.to_joint = copy.deepcopy(backbone.last), copy.deepcopy(backbone.to_joint)
        self.requires_grad_(True)

    def last_block(self, trunk):
        return trunk + self.last(trunk).tanh()

    def project(self, features):
        return self.to_joint(features)


@MODELS.register_module()
class ConvolutionBackbone(VisionLanguageBackbone):
    """Its trunk is a plain map; texts are read at their last token after one block."""

    embed_dim = text_width = WIDTH
    patch_size, context_length, text_heads = 4, LENGTH, 3
    image_mean = image_std = (127.5, 127.5, 127.5)

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.tokenizer = WordTokenizer()
        self.stem = nn.Conv2d(3, 20, 4, 4)
        self.last = nn.Conv2d(20, 20, 3, padding=1)
        self.to_joint = nn.Conv2d(20, WIDTH, 1)
        self.words = nn.Embedding(len(WORDS), WIDTH)
        self.positions = nn.Parameter(torch.randn(LENGTH, WIDTH))
        self.block = nn.TransformerEncoderLayer(WIDTH, 3, 48, dropout=0.0, batch_first=True)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))
        self.requires_grad_(False)

    def encode_image(self, image):
        return self.dense(self.trunk(image)).mean(dim=(2, 3))

    def trunk(self, image):
        return self.stem(image).tanh()

    def dense(self, trunk):
        return self.to_joint(trunk + self.last(trunk).tanh())

    def image_tail(self):
        return ConvolutionTail(self)

    def embed_tokens(self, ids):
        return self.words(ids)

    def encode_words(self, words, lengths):
        hidden = self._attend(words, lengths)
        return torch.stack([row[length - 1] for row, length in zip(hidden, lengths, strict=True)])

    def hidden_states(self, ids):
        return self._attend(self.words(ids), self.text_lengths(ids))

    def _attend(self, words, lengths):
        behind = torch.arange(words.shape[1]) >= lengths[:, None]
        hidden = words + self.positions[: words.shape[1]]
        return self.block(hidden, src_key_padding_mask=behind)


@pytest.fixture
def model():
    return build(CODE, 0)


def samples(cut=True):
    """What the data pipeline makes of captions for this backbone."""
    words = dict(type='WordTokenizer')
    tokenize = TokenizeCaption(LENGTH, LENGTH - CONTEXTS, ['photo of the {}'], words)
    packed = []
    for caption, nouns, selected in zip(CAPTIONS, NOUNS, SELECTED, strict=True):
        keys = dict(caption=caption, nouns=[*nouns], selected_nouns=[*selected])
        results = tokenize(dict(img=np.zeros((4, 4, 3), np.uint8), **keys))
        if not cut:
            del results['text_lengths']
        packed.append(PackCaptionInputs()(results)['data_samples'])
    return packed


def test_captions_are_read_by_its_tokenizer():
    (first, _) = samples()
    # a red star on the grass; grass is the first selected noun, star the second
    assert [WORDS[i] for i in first.caption_ids] == [*CAPTIONS[0].split(), '.', *'_' * 7]
    assert first.token_labels.tolist() == [-1, -1, 2, -1, -1, 1] + [-1] * 8
    nouns = [[WORDS.index(noun), END, PADDING] for noun in SELECTED[0]]
    assert first.noun_ids[:, :3].tolist() == nouns
    words = WordTokenizer().word_positions(first.caption_ids[None])
    assert words.tolist() == [[True] * 6 + [False] * 8]
    assert first.text_lengths['caption'] == 7


def test_code_trains_on_it(model):
    values = model.train().loss(images(2, 32, 32), samples())
    assert len(values) == 9 and all(value.isfinite() for value in values.values())
    sum(values.values()).backward()
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    found = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert found == learning and not any(name.startswith('backbone.') for name in found)


def test_cutting_the_padding_of_texts_changes_nothing(model):
    """Although every word attends to what follows it."""
    half = torch.full((4, 1, 32, 32), 0.5)
    model.similarity_to_mask.sample_noise = lambda similarity: half
    cut = model.loss(images(2, 32, 32), samples())
    whole = model.loss(images(2, 32, 32), samples(cut=False))
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, msg=lambda m, n=name: f'{n}: {m}')


def test_its_weights_start_the_parts_that_learn():
    model = MODELS.build(CODE)
    model.init_weights()
    ids = model.backbone.tokenizer.encode('a photo of x')
    assert torch.equal(model.noun_prompt.contexts, model.backbone.words.weight[ids])
    image = images(1, 32, 32)
    (dense,) = model.backbone(image)
    expected = F.normalize(dense, dim=1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(model.pixel_embeddings(image), expected)  # gates are closed


@torch.no_grad()
def test_class_names_are_found_with_it(model):
    model.eval().set_class_names(NAMES)
    backbone, rows = model.backbone, []
    for phrase in ('star', 'red boat', 'fish', 'house'):
        words = backbone.words(torch.tensor([*backbone.tokenizer.encode(phrase), END]))
        words = torch.cat([model.noun_prompt.contexts, words])[None]
        length = torch.tensor([words.shape[1]])
        rows.append(F.normalize(backbone.encode_words(words, length)[0], dim=0))
    image = images(1, 30, 32)  # padded to whole patches
    features = model.pixel_embeddings(F.pad(image, (0, 0, 1, 1)))
    scores = torch.stack([(features * row[:, None, None]).sum(1) for row in rows], dim=1)
    scores = torch.sigmoid(model.similarity_to_mask.logits(scores))
    scores = torch.stack([scores[:, 0], scores[:, 1:3].amax(1), scores[:, 3]], dim=1)
    (result,) = model.predict(image)
    torch.testing.assert_close(result.seg_logits.data, scores[0, :, 1:31])
    assert torch.equal(result.pred_sem_seg.data[0], scores[0, :, 1:31].argmax(0))
