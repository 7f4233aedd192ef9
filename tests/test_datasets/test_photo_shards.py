"""Real photos and captions, as img2dataset wrote them."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from code_mm.nouns import NounSelector

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


@pytest.fixture
def dataset(photo_folder, monkeypatch):
    monkeypatch.setenv('CODE_MM_PHOTO_SHARDS', str(photo_folder))
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIGS / 'photo_shards.py').train_dataloader.dataset
    config.pipeline[0].tagger = 'textblob'
    return DATASETS.build(config)


def test_every_usable_pair_is_seen_and_every_other_counted(dataset, photo_captions):
    captions = photo_captions
    selector = NounSelector('textblob')
    nouns = {key: selector(caption) for key, caption in captions.items()}
    usable = {key for key, found in nouns.items() if len(found) >= 2}
    empty = [key for key, caption in captions.items() if not caption.strip()]
    few = [key for key, found in nouns.items() if len(found) < 2 and key not in empty]

    np.random.seed(0)
    seen = {}
    for index in range(len(dataset)):
        packed = dataset[index]
        data = packed['data_samples']
        seen[data.sample_key] = data
        assert packed['inputs'].shape == (3, 224, 224)
        assert data.caption == captions[data.sample_key].strip()
        assert data.nouns == nouns[data.sample_key]
        assert set(data.selected_nouns) <= set(data.nouns)
        assert data.token_labels.max() == 2  # both drawn nouns are found in the caption
        assert (data.token_labels == 1).any()
    assert seen.keys() == usable
    assert len(usable) + len(empty) + len(few) == len(captions)
    expected = {'empty_caption': sorted(empty), 'few_nouns': sorted(few)}
    found = {reason: sorted(keys) for reason, keys in dataset.skipped_keys.items()}
    assert found == {reason: keys for reason, keys in expected.items() if keys}


def test_the_path_is_a_key(monkeypatch):
    monkeypatch.setenv('CODE_MM_PHOTO_SHARDS', '/somewhere/else')
    config = Config.fromfile(CONFIGS / 'photo_shards.py')
    assert config.train_dataloader.dataset.data_root == '/somewhere/else'
    monkeypatch.delenv('CODE_MM_PHOTO_SHARDS')
    config = Config.fromfile(CONFIGS / 'photo_shards.py')
    assert config.train_dataloader.dataset.data_root == '../shared/data/photo_shards'
