"""Real photos and captions, as img2dataset wrote them, at random and as a stream."""

import collections

import pytest
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from tiny_configs import load
from torch.utils.data import DataLoader

from code_mm.nouns import NounSelector


@pytest.mark.parametrize('kind', ['random', 'stream'])
def test_every_usable_pair_is_seen_once_and_every_other_counted(photo_folder, photo_captions, kind):
    selector = NounSelector('textblob')
    nouns = {key: selector(caption) for key, caption in photo_captions.items()}
    usable = {key: photo_captions[key].strip() for key, found in nouns.items() if len(found) >= 2}
    empty = {key for key, caption in photo_captions.items() if not caption.strip()}
    few = nouns.keys() - usable - empty

    place = dict(data_root=str(photo_folder), shards='*.tar')
    if kind == 'random':
        config = load('_base_/datasets/cc12m.py').train_dataloader.dataset
        config.update(place, index_dir=None)
    else:
        config = load('code_cc3m-cc12m_stream.py').train_dataloader.dataset
        config.update(sources=place, repeat=False)
    config.pipeline[0].tagger = 'textblob'
    dataset = DATASETS.build(config)
    if kind == 'random':
        samples = filter(None, map(dataset.prepare_data, range(len(dataset))))
        batches = (pseudo_collate([sample]) for sample in samples)
    else:
        assert len(dataset) == len(photo_captions)  # counted from *_stats.json
        batches = DataLoader(dataset, 4, num_workers=2, collate_fn=pseudo_collate)
    seen, visits = {}, collections.Counter()
    for batch in batches:
        for image, data in zip(batch['inputs'], batch['data_samples'], strict=True):
            assert image.shape == (3, 224, 224)
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
