"""The base configs of caption data, read as a user's config would, on small shards."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


def load(name):
    return Config.fromfile(CONFIGS / f'{name}.py').train_dataloader


def built(config, **kwargs):
    loader = dict(config, num_workers=0, persistent_workers=False, **kwargs)
    return Runner.build_dataloader(loader, seed=0)


@pytest.fixture
def sources(write_pairs, tmp_path):
    captions = [f'a dog and a cat on sofa number {i}' for i in range(20)]
    for source in ('cc12m', 'cc3m'):
        for shard in range(2):
            write_pairs(f'{source}/{shard:05d}.tar', captions, first=100 * shard)
    return tmp_path


def test_cc12m(sources):
    config = load('cc12m')
    assert config.dataset.data_root == 'data/cc12m'
    config.dataset.update(data_root=str(sources / 'cc12m'), index_dir=str(sources / 'index'))
    loader = built(config)
    assert len(loader.dataset) == 40
    assert loader.dataset.skipped == {'missing_shard': 1241}
    batch = next(iter(loader))
    assert len(batch['inputs']) == len(batch['data_samples']) == 16
    assert batch['inputs'][0].shape == (3, 224, 224)
    sample = batch['data_samples'][0]
    assert sample.caption_ids.shape == sample.token_labels.shape == (77,)
    assert (sample.noun_ids.shape, sample.guide_ids.shape) == ((2, 61), (2, 77))


def test_cc3m_and_cc12m_at_random_and_as_a_stream(sources):
    config = load('cc3m_cc12m')
    for part in config.dataset.datasets:
        part.update(data_root=str(sources / Path(part.data_root).name), index_dir=None)
    assert len(built(config).dataset) == 80
    config = load('cc3m_cc12m_stream')
    assert [source.data_root for source in config.dataset.sources] == ['data/cc3m', 'data/cc12m']
    for source in config.dataset.sources:
        source.data_root = str(sources / Path(source.data_root).name)
    loader = built(config, timeout=0)
    assert loader.dataset.skipped == {'missing_shard': 330 + 1241}
    assert next(iter(loader))['data_samples'][0].guide_ids.shape == (2, 77)


def test_data_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"shards '\{00000\.\.01242\}\.tar' to name tar files"):
        built(load('cc12m'))


def test_the_path_of_photo_shards_is_a_key(monkeypatch):
    monkeypatch.setenv('CODE_MM_PHOTO_SHARDS', '/somewhere/else')
    assert load('photo_shards').dataset.data_root == '/somewhere/else'
    monkeypatch.delenv('CODE_MM_PHOTO_SHARDS')
    assert load('photo_shards').dataset.data_root == '../shared/data/photo_shards'
