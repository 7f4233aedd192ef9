import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from tiny_model import RESNET

from code_mm.registry import MODELS
from code_mm.vocabulary import Vocabulary

NAME_SCORES = dict(type='KeepCosines')  # do not go with what refines windows
IMAGE = torch.full((2, 3, 6, 8), 0.5)


def build(**keys):
    return MODELS.build(dict(type='ZeroShotHead', **{'in_channels': 32, **keys}))


def unit_rows(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 32, generator=generator), dim=-1)


def vocabulary(*synonyms, background=None, template_embeddings=None):
    """``vocabulary(('car', 'automobile'), ('boat',))``"""
    names = tuple('|'.join(phrases) for phrases in synonyms)
    names = ('background', *names) if background else names
    count = sum(map(len, synonyms))
    return Vocabulary(names, synonyms, unit_rows(count), background, template_embeddings)


def features(h=3, w=4, seed=0):
    return torch.randn(2, 32, h, w, generator=torch.Generator().manual_seed(seed))


def slow_cosine(maps, embed):
    cosine = torch.empty(len(maps), len(embed), *maps.shape[2:])
    for i, c, y, x in itertools.product(*map(range, cosine.shape)):
        vector = maps[i, :, y, x]
        cosine[i, c, y, x] = vector @ embed[c] / vector.norm()
    return cosine


def bilinear(x, size=(6, 8)):
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False)


@pytest.mark.parametrize('background', [None, 0.4])
def test_logits_and_scores(background):
    """The best of a class' synonyms; a constant plane in front."""
    words = vocabulary(('car', 'automobile'), ('boat',), background=background)
    head, maps = build(), features()
    each = 10 * slow_cosine(maps, words.embeddings) - 2.5
    logits = torch.stack([each[:, :2].amax(1), each[:, 2]], dim=1)
    scores = bilinear(torch.sigmoid(logits))
    if background:
        plane = torch.full((2, 1, 3, 4), math.log(0.4 / 0.6))
        logits = torch.cat([plane, logits], dim=1)
        scores = torch.cat([torch.full((2, 1, 6, 8), 0.4), scores], dim=1)
    torch.testing.assert_close(head([maps], words), logits)
    torch.testing.assert_close(head.predict([maps], words, IMAGE), scores)


class Halve(torch.nn.Module):
    """A post-processor that tells whether it saw the image."""

    def forward(self, image, masks):
        return masks * image.mean()


def test_the_post_processor_comes_before_the_mix():
    """weight * sigmoid(scale * (cos - threshold)) + (1 - weight) * mask, on the mask grid."""
    keys = dict(weight=0.6, scale=20.0, threshold=0.1)
    head = build(knowledge_preserving=keys)
    head.post_processor = Halve()
    frozen = unit_rows(2, seed=2)
    words = vocabulary(('star',), ('boat',), background=0.4, template_embeddings=frozen)
    fine, coarse = features(h=6, w=8), features(seed=5)
    own = torch.sigmoid(10 * slow_cosine(fine, words.embeddings) - 2.5) / 2
    kept = bilinear(torch.sigmoid(20.0 * (slow_cosine(coarse, frozen) - 0.1)))
    scores = head.predict([fine, coarse], words, IMAGE)
    torch.testing.assert_close(scores[:, 1:], 0.6 * kept + 0.4 * own)
    assert build(knowledge_preserving=dict(weight=0)).knowledge_preserving is None
    assert torch.equal(scores[:, 0], torch.full((2, 6, 8), 0.4))


@pytest.mark.parametrize(
    ('keys', 'match'),
    [
        (dict(in_channels=5, embed_dim=32), '32 channels .* in_channels is 5; set project=True'),
        (
            dict(post_processor=dict(type='PAMR'), name_scores=NAME_SCORES),
            'no post_processor with name_sc',
        ),
        (
            dict(knowledge_preserving=dict(weight=0.3), name_scores=NAME_SCORES),
            'no knowledge_preserving w',
        ),
    ],
)
def test_mistakes(keys, match):
    with pytest.raises(ValueError, match=match):
        build(**keys)


def test_mmsegs_own_segmentor_hands_no_vocabulary_over():
    head = dict(type='ZeroShotHead', in_channels=64, embed_dim=32, project=True)
    model = MODELS.build(dict(type='mmseg.EncoderDecoder', backbone=RESNET, decode_head=head))
    with pytest.raises(TypeError, match=r"needs a vocabulary.*use type='ZeroShotSegmentor'"):
        model(torch.zeros(1, 3, 32, 32), mode='tensor')
