"""The whole way from shards to batches: determinism, several sources, counts of workers."""

from itertools import islice

import numpy as np
import pytest
from mmengine.runner import Runner

PIPELINE = [
    dict(type='LoadNouns', tagger='textblob'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='LoadCaptionImage', min_size=16),
    dict(type='RandomResizedCrop', size=32, flip_prob=0.5),
    dict(type='TokenizeCaption', context_length=20, noun_context_length=10),
    dict(type='PackCaptionInputs'),
]
WORDS = ['dog', 'cat', 'house', 'tree', 'river', 'boat', 'table', 'cup', 'horse', 'field']
CAPTIONS = [f'a {a} and a {b} by the {c}' for a, b, c in zip(WORDS, WORDS[3:], WORDS[5:])]  # noqa: B905


@pytest.fixture
def config(write_pairs, tmp_path):
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
    fields = ('caption_ids', 'token_labels', 'noun_ids', 'guide_ids')
    return [
        (
            *(sample.sample_key, sample.selected_nouns, sample.flip, int(image.long().sum())),
            *(getattr(sample, field).tolist() for field in fields),
        )
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True)
    ]


@pytest.mark.parametrize('workers', [0, 2])
def test_same_seed_same_batches_and_counts_of_all_workers(config, workers):
    runs = []
    for seed in (3, 3, 4):
        data = loader(config, workers, seed)
        runs.append([flat(batch) for batch in islice(data, 12)])
        assert data.dataset.skipped_keys == {'few_nouns': [f'00001.tar/{20 + len(CAPTIONS):07d}']}
        assert data.dataset.ledger.num_used == 2 * len(CAPTIONS)
    assert runs[0] == runs[1] != runs[2]


def test_spawned_worker_gives_the_batches_of_a_forked_one(config):
    batches = [
        [flat(batch) for batch in islice(loader(config, 1, multiprocessing_context=method), 2)]
        for method in ('fork', 'spawn')
    ]
    assert batches[0] == batches[1]
