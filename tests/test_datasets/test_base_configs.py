"""The base configs of caption data, read as a user's config would, on small shards."""

from pathlib import Path

import pytest
from mmengine.runner import Runner
from tiny_configs import load


@pytest.mark.parametrize(
    ('name', 'pairs', 'missing'),
    [
        ('_base_/datasets/cc12m.py', 40, 1241),
        ('_base_/datasets/cc3m_cc12m.py', 80, 330 + 1241),
        ('code_cc3m-cc12m_stream.py', None, 330 + 1241),
    ],
)
def test_caption_data(name, pairs, missing, write_pairs, tmp_path):
    captions = [f'a dog and a cat on sofa number {i}' for i in range(20)]
    for shard in ('cc12m/00000', 'cc12m/00001', 'cc3m/00000', 'cc3m/00001'):
        write_pairs(f'{shard}.tar', captions)
    config = load(name).train_dataloader
    dataset = config.dataset
    for part in dataset.get('datasets') or dataset.get('sources') or [dataset]:
        assert part.data_root.startswith('data/cc')
        part.data_root = str(tmp_path / Path(part.data_root).name)
        if 'index_dir' in part:
            part.index_dir = str(tmp_path / 'index')
    config.update(num_workers=0, persistent_workers=False, timeout=0)
    loader = Runner.build_dataloader(config, seed=0)
    parts = getattr(loader.dataset, 'datasets', [loader.dataset])
    assert sum(part.skipped['missing_shard'] for part in parts) == missing
    assert pairs is None or len(loader.dataset) == pairs
    batch = next(iter(loader))
    assert len(batch['inputs']) == len(batch['data_samples']) == 16
    assert batch['inputs'][0].shape == (3, 224, 224)
    sample = batch['data_samples'][0]
    assert sample.caption_ids.shape == sample.token_labels.shape == (77,)
    assert (sample.noun_ids.shape, sample.guide_ids.shape) == ((2, 61), (2, 77))
