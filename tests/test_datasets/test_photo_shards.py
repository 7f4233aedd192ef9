"""Real photos and captions, as img2dataset wrote them, at random and as a stream."""

import collections
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from code_mm.nouns import NounSelector

CONFIGS = Path(__file__).parents[2] / 'configs'


def map_style(folder):
    config = Config.fromfile(CONFIGS / '_base_/datasets/cc12m.py').train_dataloader.dataset
    config.update(data_root=str(folder), shards='*.tar', index_dir=None)
    return config


def streaming(folder):
    config = Config.fromfile(CONFIGS / 'code_cc3m-cc12m_stream.py').train_dataloader.dataset
    config.update(sources=dict(data_root=str(folder), shards='*.tar'), repeat=False)
    return config


def samples_of(dataset, kind):
    if kind is map_style:
        found = (dataset.prepare_data(index) for index in range(len(dataset)))
        yield from filter(None, found)
        return
    for batch in DataLoader(dataset, 4, num_workers=2, collate_fn=pseudo_collate):
        for inputs, data in zip(batch['inputs'], batch['data_samples'], strict=True):
            yield dict(inputs=inputs, data_samples=data)


@pytest.mark.parametrize('kind', [map_style, streaming])
def test_every_usable_pair_is_seen_once_and_every_other_counted(photo_folder, photo_captions, kind):
    selector = NounSelector('textblob')
    nouns = {key: selector(caption) for key, caption in photo_captions.items()}
    usable = {key: photo_captions[key].strip() for key, found in nouns.items() if len(found) >= 2}
    empty = {key for key, caption in photo_captions.items() if not caption.strip()}
    few = nouns.keys() - usable - empty

    config = kind(photo_folder)
    config.pipeline[0].tagger = 'textblob'
    dataset = DATASETS.build(config)
    seen, visits = {}, collections.Counter()
    for sample in samples_of(dataset, kind):
        data = sample['data_samples']
        assert sample['inputs'].shape == (3, 224, 224)
        assert data.nouns == nouns[data.sample_key]
        assert set(data.selected_nouns) <= set(data.nouns)
        assert data.token_labels.max() == 2  # both drawn nouns are found in the caption
        seen[data.sample_key] = data.caption
        visits[data.sample_key] += 1
    assert seen == usable
    assert set(visits.values()) == {1}
    expected = {'empty_caption': len(empty), 'few_nouns': len(few)}
    assert dataset.skipped == {reason: count for reason, count in expected.items() if count}
    assert dataset.ledger.num_used == len(usable)
    if kind is streaming:
        assert len(dataset) == len(photo_captions)  # counted from *_stats.json
