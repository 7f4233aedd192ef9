"""Real photos and captions, as img2dataset wrote them, read as a stream."""

import collections
import os
import tarfile
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from code_mm.text import NounSelector

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / 'configs' / '_base_' / 'datasets'
FOLDER = Path(
    os.environ.get('CODE_MM_PHOTO_SHARDS', REPOSITORY / '..' / 'shared' / 'data' / 'photo_shards')
).resolve()

pytestmark = pytest.mark.skipif(
    not list(FOLDER.glob('*.tar')),
    reason=f'no shards in {FOLDER}; name their folder in CODE_MM_PHOTO_SHARDS',
)


@pytest.fixture(scope='module')
def captions():
    """All captions of the shards by sample key, read without our code."""
    found = {}
    for path in sorted(FOLDER.glob('*.tar')):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith('.txt'):
                    text = tar.extractfile(member).read().decode()
                    found[f'{path.name}/{member.name[:-4]}'] = text
    return found


@pytest.mark.parametrize('shards', ['*.tar', f'pipe:cat {FOLDER}/{{00000..00001}}.tar'])
def test_every_usable_pair_is_seen_and_every_other_counted(captions, shards):
    selector = NounSelector('textblob')
    nouns = {key: selector(caption) for key, caption in captions.items()}
    usable = {key: captions[key].strip() for key, found in nouns.items() if len(found) >= 2}
    empty = {key for key, caption in captions.items() if not caption.strip()}
    few = {key for key, found in nouns.items() if len(found) < 2} - empty

    config = Config.fromfile(CONFIGS / 'cc3m_cc12m_stream.py').train_dataloader.dataset
    config.sources = dict(data_root=str(FOLDER), shards=shards)
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
    if shards == '*.tar':
        assert len(dataset) == len(captions)  # counted from *_stats.json
