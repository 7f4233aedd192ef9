"""The whole way from shards to batches: what follows from the seed, and from all workers."""

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
CAPTIONS = [f'a {a} and a {b} by the sea' for a, b in zip(WORDS, WORDS[3:], strict=False)]


@pytest.fixture
def load(write_pairs, tmp_path):
    """Samples of twelve batches as comparable values, and the data set that counted them."""
    write_pairs('00000.tar', CAPTIONS)
    write_pairs('00001.tar', [*CAPTIONS, 'gravel'], first=20)
    dataset = dict(type='CaptionShardsDataset', data_root=str(tmp_path), shards='*.tar')
    sampler = dict(type='InfiniteSampler', shuffle=True)
    config = dict(dataset=dict(dataset, pipeline=PIPELINE), batch_size=4, sampler=sampler)

    def load(workers, seed=3, **kwargs):
        np.random.seed(seed)  # as Runner.set_randomness does at the start of every run
        loader = Runner.build_dataloader(dict(config, num_workers=workers, **kwargs), seed=seed)
        samples = [
            (sample.sample_key, sample.guide_ids.tolist(), sample.flip, int(image.long().sum()))
            for batch in islice(loader, 12)
            for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True)
        ]
        return samples, loader.dataset

    return load


@pytest.mark.parametrize('workers', [0, 2])
def test_same_seed_same_batches_and_counts_of_all_workers(load, workers):
    (first, dataset), (again, _), (other, _) = (load(workers, seed) for seed in (3, 3, 4))
    assert first == again != other
    assert dataset.skipped_keys == {'few_nouns': [f'00001.tar/{20 + len(CAPTIONS):07d}']}
    assert dataset.ledger.num_used == 2 * len(CAPTIONS)


def test_spawned_worker_gives_the_batches_of_a_forked_one(load):
    forked, spawned = (load(1, multiprocessing_context=m)[0] for m in ('fork', 'spawn'))
    assert forked == spawned
