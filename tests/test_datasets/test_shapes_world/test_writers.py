import json
import tarfile

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from code_mm.datasets.shapes_world import NOUNS, ShapesWorld, write_evaluation, write_shards


@pytest.fixture(scope='module')
def world():
    return ShapesWorld('hard', size=32, seed=1)


def test_shards_have_img2datasets_layout(world, tmp_path):
    write_shards(world, tmp_path, count=5, per_shard=3)
    names = sorted(p.name for p in tmp_path.iterdir())
    parts = ('.parquet', '.tar', '_stats.json')
    assert names == sorted(f'{shard:05d}{part}' for shard in (0, 1) for part in parts)
    with tarfile.open(tmp_path / '00001.tar') as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
    assert list(members)[:3] == ['000010000.jpg', '000010000.json', '000010000.txt']
    assert len(members) == 6
    sample = world.sample('train', 3)
    record = json.loads(members['000010000.json'])
    assert members['000010000.txt'].decode() == record['caption'] == sample.caption.text
    assert record['nouns'] == list(sample.caption.nouns)
    assert [w[3] for w in record['words']] == [w[3] for w in sample.caption.words]
    assert [o['noun'] for o in record['objects']] == list(sample.object_nouns)
    picture = cv2.imdecode(np.frombuffer(members['000010000.jpg'], np.uint8), 1)[..., ::-1]
    assert np.abs(picture.astype(int) - sample.image).mean() < 12
    table = pq.read_table(tmp_path / '00000.parquet').to_pylist()
    assert [row['key'] for row in table] == ['000000000', '000000001', '000000002']
    assert json.loads((tmp_path / '00001_stats.json').read_text())['successes'] == 2


def test_workers_write_the_same_bytes(world, tmp_path):
    write_shards(world, tmp_path / 'a', count=4, per_shard=2)
    write_shards(world, tmp_path / 'b', count=4, per_shard=2, workers=2)
    for name in ('00000.tar', '00001.tar'):
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()


@pytest.mark.parametrize(
    'layout, image, label',
    [
        ('ade20k', 'images/validation/000002.jpg', 'annotations/validation/000002.png'),
        (
            'cityscapes',
            'leftImg8bit/val/shapes/shapes_000002_leftImg8bit.png',
            'gtFine/val/shapes/shapes_000002_gtFine_labelTrainIds.png',
        ),
    ],
)
def test_evaluation_layouts(world, tmp_path, layout, image, label):
    write_evaluation(world, tmp_path, 3, layout)
    split = 'validation' if layout == 'ade20k' else 'val'
    sample = world.sample(split, 2)
    labels = cv2.imread(str(tmp_path / label), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, world.label_map(sample))
    assert cv2.imread(str(tmp_path / image)).shape == (32, 32, 3)
    lines = (tmp_path / f'captions_{split}.jsonl').read_text().splitlines()
    assert json.loads(lines[2])['image'] == image
    assert json.loads(lines[2])['caption'] == sample.caption.text


def test_mistakes_are_named(world, tmp_path):
    with pytest.raises(ValueError, match="'ade20k' or 'cityscapes', but got 'voc'"):
        write_evaluation(world, tmp_path, 3, 'voc')
    with pytest.raises(ValueError, match='count >= 1'):
        write_evaluation(world, tmp_path, 0)
    with pytest.raises(ValueError, match='per_shard <= 10000'):
        write_shards(world, tmp_path, 3, per_shard=20000)


def test_dataset_reads_the_three_scorings(world, tmp_path):
    from mmseg.registry import DATASETS

    from code_mm.datasets.shapes_world import BACKGROUNDS

    write_evaluation(world, tmp_path, 2)
    sample = world.sample('validation', 1)
    labels = world.label_map(sample).astype(int)
    full = world.label_map(sample, background_nouns=True).astype(int)
    cases = (
        ({}, 'annotations', ('background', *NOUNS), labels),
        ({'with_background': False}, 'annotations', NOUNS, np.where(labels == 0, 255, labels - 1)),
        (
            {'with_background': False, 'background_nouns': True},
            'annotations_with_backgrounds',
            (*NOUNS, *BACKGROUNDS),
            full - 1,
        ),
    )
    for keys, folder, classes, expected in cases:
        dataset = DATASETS.build(
            {
                'type': 'ShapesWorldDataset',
                'data_root': str(tmp_path),
                'data_prefix': {
                    'img_path': 'images/validation',
                    'seg_map_path': f'{folder}/validation',
                },
                'pipeline': [{'type': 'mmseg.LoadAnnotations'}],
                **keys,
            }
        )
        assert dataset.metainfo['classes'] == classes
        assert len(dataset.metainfo['palette']) == len(classes)
        assert np.array_equal(dataset[1]['gt_seg_map'], expected)
    with pytest.raises(ValueError, match='at most one of with_background and background_nouns'):
        DATASETS.build({'type': 'ShapesWorldDataset', 'background_nouns': True})
