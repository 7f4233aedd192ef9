"""Random access by several processes with several workers: every sample once."""

from collections import Counter

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler, pseudo_collate
from torch.utils.data import DataLoader

from code_mm.datasets.captions import CaptionShardsDataset

MODULE = 'mmengine.dataset.sampler'


@pytest.fixture
def dataset(write_tar, tmp_path):
    """Eight shards of 3, 4, … 10 pairs: 52; the last two processes of three get one more."""
    for number in range(8):
        members = {}
        for row in range(3 + number):
            members |= {f'{number}{row:02d}.jpg': b'image', f'{number}{row:02d}.txt': b'a dog'}
        write_tar(f'{number:05d}.tar', members)
    return CaptionShardsDataset('*.tar', data_root=str(tmp_path), pipeline=[])


def keys_of(dataset, sampler, count=None):
    loader = DataLoader(
        dataset, 4, sampler=sampler, num_workers=2, collate_fn=pseudo_collate, timeout=60
    )
    keys = []
    for batch in loader:
        keys += batch['sample_key']
        if count and len(keys) >= count:
            return keys[:count]
    return keys


def samplers(monkeypatch, build, world_size=2):
    made = []
    for rank in range(world_size):
        monkeypatch.setattr(f'{MODULE}.get_dist_info', lambda rank=rank: (rank, world_size))
        made.append(build())
    return made


def test_one_epoch_is_every_sample_once(dataset, monkeypatch):
    def build():
        return DefaultSampler(dataset, shuffle=True, seed=3, round_up=False)

    shares = [keys_of(dataset, s) for s in samplers(monkeypatch, build)]
    found = Counter(shares[0] + shares[1])
    assert set(found.values()) == {1} and len(found) == len(dataset) == 52
    assert dataset.num_used == 52


def test_rounding_up_repeats_what_is_needed_for_equal_shares(dataset, monkeypatch):
    for round_up, sizes, total in ((True, [18] * 3, 54), (False, [18, 17, 17], 52)):

        def build(round_up=round_up):
            return DefaultSampler(dataset, shuffle=True, seed=3, round_up=round_up)

        shares = [list(s) for s in samplers(monkeypatch, build, 3)]
        assert [len(share) for share in shares] == sizes
        assert len(set().union(*shares)) == 52
        assert sum(map(len, shares)) == total


def test_a_pass_of_the_training_configs_is_every_sample_once(dataset, monkeypatch):
    def build():
        return InfiniteSampler(dataset, shuffle=True, seed=3)

    shares = [keys_of(dataset, s, 26 * 2) for s in samplers(monkeypatch, build)]
    for turn in range(2):
        found = Counter(key for share in shares for key in share[26 * turn : 26 * (turn + 1)])
        assert set(found.values()) == {1} and len(found) == 52
