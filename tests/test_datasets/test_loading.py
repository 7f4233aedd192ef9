"""The whole way from shards to batches: hostile members, determinism, resuming."""

import copy
import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.models import SegDataPreProcessor
from mmseg.registry import DATASETS

PIPELINE = [
    dict(type='LoadNouns', tagger='textblob'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='LoadCaptionImage', min_size=16),
    dict(type='RandomResizedCrop', size=32),
    dict(type='RandomFlip', prob=0.5),
    dict(type='TokenizeCaption', context_length=20, noun_context_length=10),
    dict(type='PackCaptionInputs'),
]
WORDS = ['dog', 'cat', 'house', 'tree', 'river', 'boat', 'table', 'cup', 'horse', 'field']
CAPTIONS = [f'a {a} and a {b} by the {c}' for a, b, c in zip(WORDS, WORDS[3:], WORDS[5:])]  # noqa: B905


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


@pytest.fixture
def config(write_pairs, tmp_path, image_bytes, write_tar):
    write_pairs('00000.tar', CAPTIONS)
    write_pairs('00001.tar', [*CAPTIONS, 'gravel'], first=20)
    return dict(
        type='CaptionShardsDataset', data_root=str(tmp_path), shards='*.tar', pipeline=PIPELINE
    )


def loader(dataset, workers, seed=3, **kwargs):
    config = dict(
        dataset=dataset,
        batch_size=4,
        num_workers=workers,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        **kwargs,
    )
    np.random.seed(seed)  # as Runner.set_randomness does at the start of every run
    return Runner.build_dataloader(config, seed=seed)


def flat(batch):
    """A batch as comparable numbers and strings."""
    return [
        (
            sample.sample_key,
            sample.selected_nouns,
            sample.flip,
            int(image.long().sum()),
            sample.caption_ids.tolist(),
            sample.token_labels.tolist(),
            sample.noun_ids.tolist(),
            sample.guide_ids.tolist(),
        )
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True)
    ]


def batches(dataset, workers, count=8, **kwargs):
    return [flat(batch) for batch in islice(loader(dataset, workers, **kwargs), count)]


@pytest.mark.parametrize('workers', [0, 2])
def test_same_seed_same_batches_and_another_seed_others(config, workers):
    first = batches(config, workers)
    assert batches(config, workers) == first
    assert batches(config, workers, seed=4) != first
    assert len({sample[0] for batch in first for sample in batch}) == 2 * len(CAPTIONS)


@pytest.mark.parametrize('workers', [0, 2])
def test_resuming_by_replay(config, workers):
    """A resumed run draws what it had drawn and goes on as the uninterrupted one."""
    whole = batches(config, workers)
    resumed = iter(loader(config, workers))
    for _ in range(3):
        next(resumed)
    assert [flat(batch) for batch in islice(resumed, 5)] == whole[3:]


def test_spawned_worker_gives_the_batches_of_a_forked_one(config):
    forked = batches(config, 1, count=2, multiprocessing_context='fork')
    assert batches(config, 1, count=2, multiprocessing_context='spawn') == forked


@pytest.mark.parametrize('workers', [0, 2])
def test_counts_of_all_workers_are_seen(config, workers):
    data = loader(config, workers)
    for _ in islice(data, 12):
        pass
    assert data.dataset.skipped == {'few_nouns': 1}
    assert data.dataset.skipped_keys == {'few_nouns': [f'00001.tar/{20 + len(CAPTIONS):07d}']}
    assert data.dataset.num_used == 2 * len(CAPTIONS)


def test_several_sources_and_the_preprocessor(config, tmp_path, image_bytes):
    (tmp_path / 'x.jpg').write_bytes(image_bytes(1))
    (tmp_path / 'x.json').write_text(
        json.dumps([dict(image='x.jpg', caption='a dog on a sofa', nouns=['dog', 'sofa'])])
    )
    listed = dict(
        type='CaptionListDataset', ann_file='x.json', data_root=str(tmp_path), pipeline=PIPELINE
    )
    both = dict(type='ConcatDataset', datasets=[config, listed])
    for batch in islice(loader(both, 0), 6):
        out = SegDataPreProcessor(mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=True, size=(32, 32))(
            batch, training=True
        )
        assert out['inputs'].shape == (4, 3, 32, 32)
        images = torch.stack(batch['inputs']).flip(1).float()
        assert torch.equal(out['inputs'], images)
    keys = {sample.sample_key for b in islice(loader(both, 0), 8) for sample in b['data_samples']}
    assert 'x.json:1' in keys


@pytest.fixture
def hostile(write_tar, image_bytes, config):
    """Two shards where something is wrong with nearly everything."""
    good, caption = image_bytes(0), b'a dog and a cat'
    dot = image_bytes(0, height=1, width=1, suffix='.png')
    members = [
        *[('good1.jpg', good), ('good1.txt', caption)],
        *[('zero.jpg', b''), ('zero.txt', caption)],
        *[('text.jpg', b'I am a text'), ('text.txt', caption)],
        *[('cut.jpg', good[:-200]), ('cut.txt', caption)],
        *[('nocaption.jpg', good)],
        *[('noimage.txt', caption)],
        *[('empty.jpg', good), ('empty.txt', b'')],
        *[('blank.jpg', good), ('blank.txt', b' \n ')],
        *[('dot.png', dot), ('dot.txt', caption)],
        *[('noun.jpg', good), ('noun.txt', b'gravel')],
        *[('json.jpg', good), ('json.txt', caption), ('json.json', b'{')],
        *[('../../../up.jpg', good), ('../../../up.txt', caption)],
        *[('..', good)],
        *[('good2.jpg', good), ('good2.txt', caption)],
    ]
    write_tar('hostile/0.tar', members)
    path = write_tar('hostile/1.tar', [*members[:2], ('late.jpg', good), ('late.txt', caption)])
    with open(path, 'r+b') as file:
        file.truncate(512 * 5 + len(good) // 512 * 512)  # within late.jpg
    root = config['data_root'] + '/hostile'
    return dict(config, data_root=root, shards='{0..2}.tar', max_bad_fraction=0.9)


EXPECTED = {
    'missing_shard': ['2.tar'],
    'truncated_shard': ['1.tar/late.jpg'],
    'broken_image': ['0.tar/zero', '0.tar/text', '0.tar/cut'],
    'missing_caption': ['0.tar/nocaption'],
    'missing_image': ['0.tar/noimage'],
    'empty_caption': ['0.tar/empty', '0.tar/blank'],
    'small_image': ['0.tar/dot'],
    'few_nouns': ['0.tar/noun'],
    'bad_fields': ['0.tar/json'],
}
USABLE = {'0.tar/good1', '0.tar/../../../up', '0.tar/good2', '1.tar/good1'}


@pytest.mark.parametrize('workers', [0, 2])
def test_hostile_members_are_counted_and_cost_only_themselves(hostile, workers):
    data = loader(hostile, workers)
    seen = Counter(
        sample.sample_key for batch in islice(data, 25) for sample in batch['data_samples']
    )
    assert seen.keys() == USABLE
    assert sum(seen.values()) == 100
    assert data.dataset.skipped_keys == EXPECTED
    assert data.dataset.skipped == {reason: len(keys) for reason, keys in EXPECTED.items()}


def test_nothing_but_hostile_members_ends_in_words(hostile):
    config = copy.deepcopy(hostile)
    config['pipeline'][1]['num_nouns'] = 5
    dataset = DATASETS.build(config)
    with pytest.raises(RuntimeError, match=r'no usable sample in 101 tries.*few_nouns'):
        dataset[0]


def test_worker_errors_reach_the_main_process(hostile):
    config = copy.deepcopy(hostile)
    config['pipeline'][1]['num_nouns'] = 5
    with pytest.raises(RuntimeError, match=r'no usable sample in 101 tries'):
        next(iter(loader(config, 1)))
