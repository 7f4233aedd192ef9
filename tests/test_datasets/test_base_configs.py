"""The base configs of caption data, read as a user's config would: on small shards, on photos."""

from pathlib import Path

import pytest
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from tiny_configs import load

from code_mm.nouns import NounSelector

CC12M, STREAM = '_base_/datasets/cc12m.py', 'code_cc3m-cc12m_stream.py'


@pytest.mark.parametrize(
    ('name', 'pairs', 'missing'),
    [
        (CC12M, 40, 1241),
        ('_base_/datasets/cc3m_cc12m.py', 80, 330 + 1241),
        (STREAM, None, 330 + 1241),
    ],
)
def test_batches(name, pairs, missing, write_pairs, tmp_path):
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


@pytest.mark.parametrize('name', [CC12M, STREAM])
def test_usable_photos_are_seen_once_and_others_counted(photo_folder, photo_captions, name):
    nouns = {key: NounSelector('textblob')(text) for key, text in photo_captions.items()}
    usable = {key: photo_captions[key].strip() for key, found in nouns.items() if len(found) >= 2}
    empty = {key for key, caption in photo_captions.items() if not caption.strip()}
    expected = dict(empty_caption=len(empty), few_nouns=len(nouns.keys() - usable - empty))

    place = dict(data_root=str(photo_folder), shards='*.tar')
    config = load(name).train_dataloader.dataset
    config.update(
        dict(sources=place, repeat=False) if name == STREAM else dict(place, index_dir=None)
    )
    config.pipeline[0].tagger = 'textblob'
    dataset = DATASETS.build(config)
    if name == STREAM:
        assert len(dataset) == len(photo_captions)  # counted from *_stats.json
    samples = dataset if name == STREAM else map(dataset.prepare_data, range(len(dataset)))
    seen = []
    for sample in filter(None, samples):
        data = sample['data_samples']
        assert sample['inputs'].shape == (3, 224, 224)
        assert data.nouns == nouns[data.sample_key]
        assert set(data.selected_nouns) <= set(data.nouns)
        assert data.token_labels.max() == 2  # both drawn nouns are found in the caption
        seen.append((data.sample_key, data.caption))
    assert dict(seen) == usable and len(seen) == len(usable) == dataset.ledger.num_used
    assert dataset.skipped == {reason: count for reason, count in expected.items() if count}
