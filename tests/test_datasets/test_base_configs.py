"""The base configs of caption data, read as a user's config would, on small shards."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


def load(name):
    init_default_scope('mmseg')
    return Config.fromfile(CONFIGS / f'{name}.py')


def make_loader(config, **kwargs):
    loader = dict(config.train_dataloader, num_workers=0, persistent_workers=False, **kwargs)
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
    assert config.train_dataloader.dataset.data_root == 'data/cc12m'
    dataset = dict(config.train_dataloader.dataset)
    dataset.update(data_root=str(sources / 'cc12m'), index_dir=str(sources / 'index'))
    config.train_dataloader.dataset = dataset
    loader = make_loader(config)
    assert len(loader.dataset) == 40
    assert loader.dataset.skipped == {'missing_shard': 1241}
    batch = next(iter(loader))
    assert len(batch['inputs']) == len(batch['data_samples']) == 16
    assert batch['inputs'][0].shape == (3, 224, 224)
    sample = batch['data_samples'][0]
    assert sample.caption_ids.shape == sample.token_labels.shape == (77,)
    assert sample.noun_ids.shape == (2, 61)
    assert sample.guide_ids.shape == (2, 77)


def test_cc3m_and_cc12m(sources):
    config = load('cc3m_cc12m')
    dataset = config.train_dataloader.dataset
    assert [part.data_root for part in dataset.datasets] == ['data/cc3m', 'data/cc12m']
    for part in dataset.datasets:
        part.update(data_root=str(sources / Path(part.data_root).name), index_dir=None)
    loader = make_loader(config)
    assert len(loader.dataset) == 80
    assert len(next(iter(loader))['inputs']) == 16


def test_cc3m_and_cc12m_as_a_stream(sources):
    config = load('cc3m_cc12m_stream')
    dataset = config.train_dataloader.dataset
    assert [source.data_root for source in dataset.sources] == ['data/cc3m', 'data/cc12m']
    for source in dataset.sources:
        source.data_root = str(sources / Path(source.data_root).name)
    loader = make_loader(config, timeout=0)
    assert loader.dataset.skipped == {'missing_shard': 330 + 1241}
    batch = next(iter(loader))
    assert len(batch['inputs']) == len(batch['data_samples']) == 16
    assert batch['data_samples'][0].guide_ids.shape == (2, 77)


def test_data_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"shards '\{00000\.\.01242\}\.tar' to name tar files"):
        make_loader(load('cc12m'))
