"""projects/dense_clip: readings of the last block by plain formulas; scores from several names."""

import math

import pytest
import torch
from mmseg.registry import DATASETS
from tiny_model import images, tiny_clip

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.models.segmenters import SimilarityToMask
from code_mm.vocabulary import ClassNameFile, Vocabulary
from projects.dense_clip import MasksOfAveragedLogits, SoftmaxOverNames
from projects.dense_clip.sclip_protocol import CLASS_NAMES


def attention(a, b, added=0.0):
    """Attention weights softmax(a b^T / sqrt(d) + added) [heads, l, l]."""
    return torch.softmax(torch.einsum('hid,hjd->hij', a, b) / a.shape[-1] ** 0.5 + added, dim=-1)


def gaussian(std, rows=2, columns=3):
    """Of the distance of two patches; the class token in front has none."""
    values = torch.zeros(1 + rows * columns, 1 + rows * columns)
    for i in range(rows * columns):
        for j in range(rows * columns):
            squared = (i // columns - j // columns) ** 2 + (i % columns - j % columns) ** 2
            values[1 + i, 1 + j] = math.exp(-squared / (2 * std**2))
    return values


# reading, its attention weights of query and key, and what of the block learns; without the
# feed-forward there are no residual connections either
QKV = 'query key value mlp'
READINGS = [
    ('SelfOnlyAttention', lambda q, k: torch.eye(7).expand(3, 7, 7), 'value mlp'),
    # a sum, not a mean
    ('CorrelativeSelfAttention', lambda q, k: attention(q, q) + attention(k, k), QKV),
    ('SelfSelfAttention', lambda q, k: attention(q, q), 'query value'),
    ('NeighbourhoodAttention', lambda q, k: attention(k, k, gaussian(5.0)), 'key value'),
]


@pytest.mark.parametrize(('name', 'weights', 'learnt'), READINGS)
def test_a_reading_is_its_formula(name, weights, learnt):
    clip = tiny_clip(dense_attention=dict(type=name), frozen=False)
    trunk, visual = clip.trunk(images(1, 16, 24)), clip.visual
    block, found = visual.transformer.resblocks[-1], clip.dense(trunk)
    x = torch.cat([trunk.class_token, trunk.tokens], dim=1)[0]
    rows = block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    query, key, value = rows.view(7, 3, 3, 16).permute(1, 2, 0, 3)  # heads l d
    heads = torch.einsum('hij,hjd->ihd', weights(query, key), value)
    tokens = block.attn.out_proj(heads.flatten(1))
    if 'mlp' in learnt:
        tokens = x + tokens
        tokens = tokens + block.mlp(block.ln_2(tokens))
    expected = (visual.ln_post(tokens) @ visual.proj)[1:].T.view(1, 32, 2, 3)
    torch.testing.assert_close(found, expected)

    found.square().sum().backward()
    gradients = [*block.attn.in_proj_weight.grad.chunk(3), block.mlp.c_fc.weight.grad]
    parts = zip(QKV.split(), gradients, strict=True)
    moved = [part for part, gradient in parts if gradient is not None and gradient.any()]
    assert moved == learnt.split()


def vocabulary(*counts, threshold=None):
    """Classes of so many names each, and a background plane where there is a threshold."""
    names = ['background'] * bool(threshold) + [f'class {i}' for i in range(len(counts))]
    synonyms = tuple(tuple(f'name {j}' for j in range(count)) for count in counts)
    return Vocabulary(tuple(names), synonyms, torch.empty(sum(counts), 4), threshold)


def cosines(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_a_class_takes_the_probability_of_its_best_name():
    similarity = cosines(2, 6, 3, 4)
    found = SoftmaxOverNames(scale=7.0)(similarity, vocabulary(2, 1, 3), None)
    assert found.shape == (2, 3, 3, 4)
    for b, y, x in [(b, y, x) for b in range(2) for y in range(3) for x in range(4)]:
        powers = [math.exp(7 * c) for c in similarity[b, :, y, x].tolist()]
        best = [max(powers[:2]), powers[2], max(powers[3:])]
        expected = [power / sum(powers) for power in best]
        assert found[b, :, y, x].tolist() == pytest.approx(expected, rel=1e-5)


def test_unsure_pixels_become_background_and_classes_of_few_pixels_are_left_out():
    # 10 background pixels, 9 of class 1, of which one is unsure, and one of class 2
    scores = torch.zeros(1, 3, 4, 5)
    scores[0, 0, :2], scores[0, 1, 2:], scores[0, 2, 3, 4] = 0.8, 0.5, 0.7
    scores[0, 1, 2, 0] = 0.2
    plain, before = scores.argmax(1), scores.clone()
    assert plain[0, 3, 4] == 2 and plain[0, 2, 0] == 1
    sure, many = plain.clone(), plain.clone()
    sure[0, 2, 0], many[0, 3, 4] = 0, 1  # the second choice
    assert torch.equal(SoftmaxOverNames(min_score=0.4).decide(scores), sure)
    assert torch.equal(SoftmaxOverNames(min_share=0.09).decide(scores), plain)
    both = SoftmaxOverNames(min_share=0.1).decide(torch.cat([scores, scores.flip(1)]))
    assert torch.equal(both, torch.cat([many, scores.flip(1).argmax(1)]))  # each image by itself
    assert torch.equal(scores, before)


@pytest.mark.parametrize('threshold', [None, 0.4])
def test_masks_of_averaged_logits(threshold):
    to_mask = SimilarityToMask(init_scale=20.0, init_bias=-5.0)
    similarity = cosines(1, 3, 2, 2)
    found = MasksOfAveragedLogits()(similarity, vocabulary(2, 1, threshold=threshold), to_mask)
    masks = 1 / (1 + torch.exp(-(20 * similarity - 5)))
    expected = [torch.maximum(masks[:, 0], masks[:, 1]), masks[:, 2]]
    if threshold:
        expected = [torch.full_like(masks[:, 0], threshold), *expected]
    torch.testing.assert_close(found, torch.stack(expected, 1))


# Names by which both call a class, where a word that both share does not show it. Some are SCLIP's
# own slips of spelling, which change what CLIP is asked: they are kept.
OTHER_WORDS = {
    *(('boat', 'ship'), ('diningtable', 'table'), ('tvmonitor', 'television monitor')),
    *(('pedestal', 'base'), ('barrel', 'barrel'), ('television', 'televisionreceiver')),
    *(('signboard', 'signboard'), ('brand', 'tradename'), ('crt screen', 'crtscreen')),
}


@pytest.mark.parametrize('benchmark', BENCHMARKS)
def test_class_names_are_in_the_order_of_the_labels(benchmark):
    """A line shares a word with mmseg's name of its class, but for OTHER_WORDS."""
    classes = DATASETS.get(BENCHMARKS[benchmark].dataset).METAINFO['classes']
    names = ClassNameFile.read(CLASS_NAMES / f'sclip_{benchmark}.txt').names
    different = [
        (own, name.split('|')[0])
        for own, name in zip(classes, names, strict=True)
        if not letters(own) & {word for n in name.split('|') for word in letters(n)}
    ]
    assert {pair for pair in different if pair[0] != 'background'} <= OTHER_WORDS


def letters(name):
    joined = ''.join(c for c in name.lower() if c.isalnum())
    return {joined, *(word for word in name.lower().replace('-', ' ').split())}
