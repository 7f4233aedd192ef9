"""projects/dense_clip: by config and by plain formulas; CoDe starts from it; name scores."""

import math
import re
import sys

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from tiny_configs import PROJECTS
from training_free import PlainMethod, build_config, check_miou, check_start_of_code

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.models.segmenters import SimilarityToMask
from code_mm.registry import MODELS
from code_mm.vocabulary import ClassNameFile, Vocabulary
from projects.dense_clip import (
    MasksOfAveragedLogits,
    NeighbourhoodAttention,
    SelfSelfAttention,
    SoftmaxOverNames,
)
from projects.dense_clip.sclip_protocol import CLASS_NAMES

SHAPES, DENSE = 'shapes_world/configs/', 'dense_clip/configs/'


def maskclip(block, x):
    """Attention weights are the identity."""
    _, _, value = block.projections(x)
    x = x + block.output(torch.eye(len(x), dtype=x.dtype).expand(len(value), -1, -1), value)
    return (x + block.feed_forward(x))[1:]


def sclip(block, x):
    """Queries attend to queries and keys to keys; a sum, not a mean."""
    query, key, value = block.projections(x)
    weights = block.weights_of(query, query) + block.weights_of(key, key)
    x = x + block.output(weights, value)
    return (x + block.feed_forward(x))[1:]


def clearclip(block, x):
    """Queries attend to queries; nothing is added to what they gather."""
    query, _, value = block.projections(x)
    return block.output(block.weights_of(query, query), value)[1:]


def naclip(block, x):
    """Keys attend to keys, more so to near ones; nothing is added to what they gather."""
    _, key, value = block.projections(x)
    gaussian = torch.zeros(65, 65, dtype=x.dtype)
    for i in range(64):
        for j in range(64):
            squared = (i // 8 - j // 8) ** 2 + (i % 8 - j % 8) ** 2
            gaussian[1 + i, 1 + j] = math.exp(-squared / (2 * 5.0**2))
    return block.output(block.weights_of(key, key, gaussian), value)[1:]


@pytest.mark.parametrize(
    ('method', 'folder'), [(maskclip, SHAPES), (sclip, DENSE), (clearclip, DENSE), (naclip, DENSE)]
)
def test_a_config_gives_the_miou_of_the_formulas(method, folder, shapes_folder, tmp_path):
    check_miou(f'{folder}{method.__name__}_shapes-hard.py', shapes_folder, tmp_path, method)


@pytest.mark.parametrize(
    ('method', 'attention', 'learnt'),
    [
        (maskclip, 'SelfOnlyAttention', {'value', 'feed_forward'}),
        (sclip, 'CorrelativeSelfAttention', {'query', 'key', 'value', 'feed_forward'}),
        (clearclip, 'SelfSelfAttention', {'query', 'value'}),
        (naclip, 'NeighbourhoodAttention', {'key', 'value'}),
    ],
)
def test_code_starts_from_these_features(method, attention, learnt, shapes_folder, tmp_path):
    keys = dict(model__image_segmenter__tail__dense_attention__type=attention)
    config = f'{DENSE}code_naclip_shapes-hard.py'
    check_start_of_code(config, shapes_folder, tmp_path, method, learnt, **keys)


def test_the_gaussian_of_a_grid_by_hand():
    values = NeighbourhoodAttention(std=1.0).patch_gaussian((2, 3))
    for i in range(6):
        for j in range(6):
            squared = (i // 3 - j // 3) ** 2 + (i % 3 - j % 3) ** 2
            assert values[i, j].item() == pytest.approx(math.exp(-squared / 2))


def test_keys_out_of_range():
    with pytest.raises(ValueError, match=r'expected a std > 0 .* but got nan'):
        NeighbourhoodAttention(math.nan)
    with pytest.raises(ValueError, match=r"one of \('query', 'key', 'value'\), but got 'queries'"):
        SelfSelfAttention('queries')
    with pytest.raises(ValueError, match='scale > 0, but got 0'):
        SoftmaxOverNames(scale=0.0)
    with pytest.raises(ValueError, match=r'min_share in \(0, 1\) or None, but got 1.5'):
        SoftmaxOverNames(min_share=1.5)


@pytest.fixture
def further_method(tmp_path, monkeypatch):
    """The config of the page's own method, its class in a file of the user's."""
    page = (PROJECTS / 'dense_clip' / 'README.md').read_text()
    part, keys = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    (tmp_path / 'my_reading.py').write_text(part)
    base = PROJECTS / SHAPES / 'maskclip_shapes-hard.py'
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(base)!r}\n{keys}')
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / 'mine.py'
    sys.modules.pop('my_reading')
    for registry in (MODELS, MODELS.parent):
        registry.module_dict.pop('MeanAttention')


def test_a_further_method_needs_a_file_and_a_config(further_method, shapes_folder, tmp_path):
    runner = Runner.from_cfg(build_config(further_method, shapes_folder, tmp_path))
    runner.model.init_weights()
    plain = PlainMethod(lambda _, x: x[1:] + x[1:].mean(dim=0))
    assert runner.test()['mIoU'] == pytest.approx(plain.miou(shapes_folder), abs=0.02)


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


def test_unsure_pixels_become_background():
    similarity = cosines(1, 6, 8, 8)
    plain = SoftmaxOverNames(scale=3.0)(similarity, vocabulary(2, 1, 3), None)
    threshold = plain.amax(1).median().item()
    found = SoftmaxOverNames(scale=3.0, min_score=threshold)(similarity, vocabulary(2, 1, 3), None)
    expected = plain.argmax(1)
    expected[plain.amax(1) < threshold] = 0
    assert torch.equal(found.argmax(1), expected)
    assert (found.argmax(1) != plain.argmax(1)).any()


def test_classes_of_few_pixels_are_left_out_of_their_image():
    # 10 background pixels, 9 of class 1, one of class 2, whose second choice is class 1
    similarity = torch.zeros(1, 3, 4, 5)
    similarity[0, 0, :2] = 1.0
    similarity[0, 1, 2:] = 0.9
    similarity[0, 2, 3, 4] = 1.0
    kept = SoftmaxOverNames(10.0, min_share=0.09)(similarity, vocabulary(1, 1, 1), None).argmax(1)[
        0
    ]
    scores = SoftmaxOverNames(10.0, min_share=0.1)
    both = scores(torch.cat([similarity, similarity.flip(1)]), vocabulary(1, 1, 1), None).argmax(1)
    assert (kept[3, 4], both[0, 3, 4]) == (2, 1)
    kept[3, 4] = 1
    assert torch.equal(both[0], kept)
    assert torch.equal(both[1], scores(similarity.flip(1), vocabulary(1, 1, 1), None).argmax(1)[0])


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


def test_the_background_has_several_names():
    voc21, voc20, coco = (
        ClassNameFile.read(CLASS_NAMES / f'sclip_{name}.txt').names
        for name in ('voc21', 'voc20', 'coco_object')
    )
    assert voc21[0].startswith('sky|wall|tree|') and len(voc21[0].split('|')) == 26
    assert coco[0] == voc21[0] and voc20 == voc21[1:]
