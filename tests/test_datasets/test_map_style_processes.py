"""Random access by several processes with several workers: every sample once."""

from collections import Counter

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler, pseudo_collate
from torch.utils.data import DataLoader

from code_mm.datasets.captions import CaptionShardsDataset


@pytest.fixture
def dataset(write_tar, tmp_path):
    """Eight shards of 3, 4, … 10 pairs: 52."""
    for number in range(8):
        members = {}
        for row in range(3 + number):
            members |= {f'{number}{row:02d}.jpg': b'image', f'{number}{row:02d}.txt': b'a dog'}
        write_tar(f'{number:05d}.tar', members)
    return CaptionShardsDataset('*.tar', data_root=str(tmp_path), pipeline=[])


def keys_of_two_processes(dataset, count, monkeypatch, sampler, **kwargs):
    shares = []
    for rank in range(2):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2))
        own = sampler(dataset, shuffle=True, seed=3, **kwargs)
        loader = DataLoader(dataset, 4, sampler=own, num_workers=2, collate_fn=pseudo_collate)
        keys = []
        for batch in loader:
            keys += batch['sample_key']
            if len(keys) >= count:
                break
        shares.append(keys[:count])
    return shares


def test_one_epoch_is_every_sample_once(dataset, monkeypatch):
    shares = keys_of_two_processes(dataset, 99, monkeypatch, DefaultSampler, round_up=False)
    found = Counter(shares[0] + shares[1])
    assert set(found.values()) == {1} and len(found) == len(dataset) == 52
    assert dataset.num_used == 52


def test_a_pass_of_the_training_configs_is_every_sample_once(dataset, monkeypatch):
    shares = keys_of_two_processes(dataset, 52, monkeypatch, InfiniteSampler)
    for turn in range(2):
        found = Counter(key for share in shares for key in share[26 * turn : 26 * (turn + 1)])
        assert set(found.values()) == {1} and len(found) == 52
