"""The base configs of caption data, read as a user's config would, on small shards."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture
def loader(write_pairs, tmp_path):
    """The loader of a base config, on two shards in the place of each of its folders."""
    captions = [f'a dog and a cat on sofa number {i}' for i in range(20)]
    for name in ('cc12m', 'cc3m'):
        for shard in range(2):
            write_pairs(f'{name}/{shard:05d}.tar', captions, first=100 * shard)

    def build(name):
        config = Config.fromfile(CONFIGS / f'{name}.py').train_dataloader
        dataset = config.dataset
        for part in dataset.get('datasets') or dataset.get('sources') or [dataset]:
            assert part.data_root.startswith('data/cc')
            part.data_root = str(tmp_path / Path(part.data_root).name)
            if 'index_dir' in part:
                part.index_dir = str(tmp_path / 'index')
        config.update(num_workers=0, persistent_workers=False, timeout=0)
        return Runner.build_dataloader(config, seed=0)

    return build


def test_cc12m(loader):
    loader = loader('_base_/datasets/cc12m')
    assert len(loader.dataset) == 40
    assert loader.dataset.skipped == {'missing_shard': 1241}
    batch = next(iter(loader))
    assert len(batch['inputs']) == len(batch['data_samples']) == 16
    assert batch['inputs'][0].shape == (3, 224, 224)
    sample = batch['data_samples'][0]
    assert sample.caption_ids.shape == sample.token_labels.shape == (77,)
    assert (sample.noun_ids.shape, sample.guide_ids.shape) == ((2, 61), (2, 77))


def test_cc3m_and_cc12m_at_random_and_as_a_stream(loader):
    assert len(loader('_base_/datasets/cc3m_cc12m').dataset) == 80
    stream = loader('code_cc3m-cc12m_stream')
    assert stream.dataset.skipped == {'missing_shard': 330 + 1241}
    assert next(iter(stream))['data_samples'][0].guide_ids.shape == (2, 77)
