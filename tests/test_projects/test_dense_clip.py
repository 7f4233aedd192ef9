"""projects/dense_clip: by config and by plain formulas; CoDe starts from it; name scores."""

import math

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from training_free import PlainMethod, build_config, clearclip, maskclip, naclip, pictures, sclip

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.models.segmenters import SimilarityToMask
from code_mm.vocabulary import ClassNameFile, Vocabulary
from projects.dense_clip import MasksOfAveragedLogits, NeighbourhoodAttention, SoftmaxOverNames
from projects.dense_clip.sclip_protocol import CLASS_NAMES

# attention, its method by plain formulas, and what of the block learns when CoDe starts from it
METHODS = [
    ('SelfOnlyAttention', maskclip, {'value', 'feed_forward'}),
    ('CorrelativeSelfAttention', sclip, {'query', 'key', 'value', 'feed_forward'}),
    ('SelfSelfAttention', clearclip, {'query', 'value'}),
    ('NeighbourhoodAttention', naclip, {'key', 'value'}),
]


def build(name, world, work_dir, **keys):
    cfg = build_config(f'dense_clip/configs/{name}_shapes-hard.py', world, work_dir, **keys)
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    return runner


@pytest.mark.parametrize(('attention', 'method', '_'), METHODS)
def test_a_config_gives_the_miou_of_the_formulas(attention, method, _, shapes_folder, tmp_path):
    keys = {'model.backbone.dense_attention.type': attention}
    if method is naclip:  # the config's own
        keys = {}
    runner = build('naclip', shapes_folder, tmp_path, **keys)
    expected = PlainMethod(method).miou(shapes_folder)
    assert runner.test()['mIoU'] == pytest.approx(expected, abs=0.02)  # percent, two digits


@pytest.mark.parametrize(('attention', 'method', 'learnt'), METHODS)
def test_code_starts_from_these_features(attention, method, learnt, shapes_folder, tmp_path):
    keys = {
        'model.image_segmenter.tail.dense_attention.type': attention,
        'model.image_segmenter.init_gate': 0.0,  # nothing is added to the upsampled features
        'train_cfg.max_iters': 2,
        'custom_hooks': [dict(type='ClassNamesHook')],
    }
    runner = build('code_naclip', shapes_folder, tmp_path, **keys)
    image, _ = next(iter(pictures(shapes_folder)))
    plain = PlainMethod(method)
    with torch.no_grad():
        found = runner.model.pixel_embeddings(plain.normalise(image).permute(2, 0, 1)[None].float())
    expected = plain.dense(image).T.unflatten(1, (8, 8)).float()
    expected = expected.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-4)
    runner.train()
    block, state = runner.model.image_segmenter.tail.block, runner.optim_wrapper.optimizer.state
    rows = state[block.attn.in_proj_weight]['exp_avg_sq'].unflatten(0, (3, -1)).sum(dim=(1, 2))
    parts = dict(zip(('query', 'key', 'value'), rows > 0, strict=True))
    parts['feed_forward'] = block.mlp.c_fc.weight in state
    assert {name for name, part in parts.items() if part} == learnt


def test_the_gaussian_of_a_grid_by_hand():
    values = NeighbourhoodAttention(std=1.0).patch_gaussian((2, 3))
    for i in range(6):
        for j in range(6):
            squared = (i // 3 - j // 3) ** 2 + (i % 3 - j % 3) ** 2
            assert values[i, j].item() == pytest.approx(math.exp(-squared / 2))


def vocabulary(*counts, threshold=None):
    """Classes of so many names each, and a background plane where there is a threshold."""
    names = ['background'] * bool(threshold) + [f'class {i}' for i in range(len(counts))]
    synonyms = tuple(tuple(f'name {j}' for j in range(count)) for count in counts)
    return Vocabulary(tuple(names), synonyms, torch.empty(sum(counts), 4), threshold)


def cosines(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def softmax(similarity, *counts, **keys):
    return SoftmaxOverNames(**keys)(similarity, vocabulary(*counts), None)


def test_a_class_takes_the_probability_of_its_best_name():
    similarity = cosines(2, 6, 3, 4)
    found = softmax(similarity, 2, 1, 3, scale=7.0)
    assert found.shape == (2, 3, 3, 4)
    for b, y, x in [(b, y, x) for b in range(2) for y in range(3) for x in range(4)]:
        powers = [math.exp(7 * c) for c in similarity[b, :, y, x].tolist()]
        best = [max(powers[:2]), powers[2], max(powers[3:])]
        expected = [power / sum(powers) for power in best]
        assert found[b, :, y, x].tolist() == pytest.approx(expected, rel=1e-5)


def test_unsure_pixels_become_background():
    similarity = cosines(1, 6, 8, 8)
    plain = softmax(similarity, 2, 1, 3, scale=3.0)
    threshold = plain.amax(1).median().item()
    found = softmax(similarity, 2, 1, 3, scale=3.0, min_score=threshold).argmax(1)
    expected = torch.where(plain.amax(1) < threshold, 0, plain.argmax(1))
    assert torch.equal(found, expected) and (found != plain.argmax(1)).any()


def test_classes_of_few_pixels_are_left_out_of_their_image():
    # 10 background pixels, 9 of class 1, one of class 2, whose second choice is class 1
    similarity = torch.zeros(1, 3, 4, 5)
    similarity[0, 0, :2] = 1.0
    similarity[0, 1, 2:] = 0.9
    similarity[0, 2, 3, 4] = 1.0
    two = torch.cat([similarity, similarity.flip(1)])
    kept, fewer = (
        softmax(two, 1, 1, 1, scale=10.0, min_share=share).argmax(1) for share in (0.09, 0.1)
    )
    assert (kept[0, 3, 4], fewer[0, 3, 4]) == (2, 1)
    kept[0, 3, 4] = 1
    assert torch.equal(fewer, kept)  # in the other image, class 0 alone has one pixel, and stays


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
