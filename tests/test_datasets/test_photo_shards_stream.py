"""Real photos and captions, as img2dataset wrote them, read as a stream."""

import collections
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from code_mm.nouns import NounSelector

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


@pytest.mark.parametrize('kind', ['files', 'pipe'])
def test_every_usable_pair_is_seen_and_every_other_counted(photo_folder, photo_captions, kind):
    captions = photo_captions
    shards = '*.tar' if kind == 'files' else f'pipe:cat {photo_folder}/{{00000..00001}}.tar'
    selector = NounSelector('textblob')
    nouns = {key: selector(caption) for key, caption in captions.items()}
    usable = {key: captions[key].strip() for key, found in nouns.items() if len(found) >= 2}
    empty = {key for key, caption in captions.items() if not caption.strip()}
    few = {key for key, found in nouns.items() if len(found) < 2} - empty

    config = Config.fromfile(CONFIGS / 'cc3m_cc12m_stream.py').train_dataloader.dataset
    config.sources = dict(data_root=str(photo_folder), shards=shards)
    config.pipeline[0].tagger = 'textblob'
    dataset = DATASETS.build(dict(config, repeat=False))
    loader = DataLoader(dataset, 4, num_workers=2, collate_fn=pseudo_collate)
    seen = {}
    visits = collections.Counter()
    for batch in loader:
        for inputs, data in zip(batch['inputs'], batch['data_samples'], strict=True):
            assert inputs.shape == (3, 224, 224)
            assert data.nouns == nouns[data.sample_key]
            assert data.token_labels.max() == 2  # both drawn nouns are found in the caption
            seen[data.sample_key] = data.caption
            visits[data.sample_key] += 1
    assert seen == usable
    assert set(visits.values()) == {1}
    assert len(usable) + len(empty) + len(few) == len(captions)
    expected = {'empty_caption': len(empty), 'few_nouns': len(few)}
    assert dataset.skipped == {reason: count for reason, count in expected.items() if count}
    assert dataset.num_used == len(usable)
    if kind == 'files':
        assert len(dataset) == len(captions)  # counted from *_stats.json
