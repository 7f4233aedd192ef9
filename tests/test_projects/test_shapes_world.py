"""The world, its captions, and what is written of it."""

import json
import tarfile

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from mmseg.registry import DATASETS

from code_mm.tokenizers import CLIPTokenizer
from projects.shapes_world import (
    BACKGROUNDS,
    CAPTION_WORDS,
    COLOURS,
    LEVELS,
    NOUNS,
    ShapesWorld,
    write_evaluation,
    write_shards,
)
from projects.shapes_world.drawing import draw
from projects.shapes_world.scene import Scene, SceneObject

tokenize = CLIPTokenizer().tokenize


@pytest.fixture(scope='module')
def hard():
    world = ShapesWorld('hard', seed=2)
    return [world.sample('train', i) for i in range(300)]


@pytest.fixture(scope='module')
def world():
    return ShapesWorld('hard', size=32, seed=1)


def test_a_sample_depends_on_seed_split_and_index_only():
    first, again = ShapesWorld('hard', seed=5), ShapesWorld('hard', seed=5)
    again.sample('train', 0)  # order of visits must not matter
    a, b = first.sample('train', 7), again.sample('train', 7)
    assert np.array_equal(a.image, b.image) and a.caption == b.caption and a.scene == b.scene
    for other in (
        first.sample('train', 8),
        first.sample('validation', 7),
        ShapesWorld('hard', seed=6).sample('train', 7),
    ):
        assert not np.array_equal(a.image, other.image)


@pytest.mark.parametrize('level', sorted(LEVELS))
def test_scenes_keep_what_the_level_promises(level):
    world = ShapesWorld(level, seed=3)
    samples = [world.sample('train', i) for i in range(40)]
    least, most = LEVELS[level].num_objects
    for sample in samples:
        names = sample.object_nouns
        assert 1 <= len(names) <= most and len(set(names)) == len(names)
        assert set(names) <= set(NOUNS[: LEVELS[level].num_nouns])
        colours = [o.colour for o in sample.scene.objects]
        assert len(set(colours)) == len(colours)
        assert not set(colours) & set(BACKGROUNDS[sample.scene.background][1])
        assert set(np.unique(sample.instances)) <= set(range(len(names) + 1))
    # the first object always stays; nearly all others find a place
    assert np.mean([len(s.object_nouns) for s in samples]) > (least + most) / 2 - 0.3
    areas = [(s.instances == i + 1).mean() for s in samples for i in range(len(s.object_nouns))]
    low, high = LEVELS[level].area
    assert 0.5 * low < np.min(areas) and np.max(areas) < 1.1 * high


def test_later_objects_cover_earlier_ones():
    below = SceneObject('ring', 'red', 'plain', (0.5, 0.5), 0.8, 0.0, False)
    above = SceneObject('heart', 'blue', 'plain', (0.5, 0.5), 0.8, 0.0, False)
    image, instances = draw(Scene('sand', (below, above)), 64, np.random.default_rng(0))
    alone = draw(Scene('sand', (above,)), 64, np.random.default_rng(0))[1]
    assert np.array_equal(instances == 2, alone == 1)
    blue = image[instances == 2].astype(int)
    assert (blue[:, 2] > blue[:, 0]).all()


def test_companions_occur_together_in_the_hard_level(hard):
    on_water = [('boat' in s.object_nouns) for s in hard if s.scene.background == 'water']
    elsewhere = [('boat' in s.object_nouns) for s in hard if s.scene.background != 'water']
    assert np.mean(on_water) > 2 * np.mean(elsewhere)


def test_mistakes_are_named(world, tmp_path):
    with pytest.raises(ValueError, match=r"expected a level of .*'hard'.*but got 'harder'"):
        ShapesWorld('harder')
    with pytest.raises(ValueError, match='at least 16 pixels, but got 8'):
        ShapesWorld('hard', size=8)
    with pytest.raises(TypeError, match='name_color'):
        ShapesWorld('hard', name_color=1.0)
    with pytest.raises(ValueError, match="'ade20k' or 'cityscapes', but got 'voc'"):
        write_evaluation(world, tmp_path, 3, 'voc')
    with pytest.raises(ValueError, match='per_shard <= 10000'):
        write_shards(world, tmp_path, 3, per_shard=20000)


def test_words_spans_and_owners_are_true_to_text_and_scene(hard):
    known = {word for text in CAPTION_WORDS for word in text.split()}
    unnamed = 0
    for sample in hard:
        caption, by_noun = sample.caption, {o.noun: o for o in sample.scene.objects}
        assert ''.join(w[0] for w in caption.words) == caption.text.replace(' ', '')
        for word, start, end, owner in caption.words:
            assert caption.text[start:end] == word and word in known
            if word in COLOURS:
                assert by_noun[owner].colour == word
            if word in ('plain', 'striped', 'dotted'):
                assert by_noun[owner].texture == word
        assert {w[3] for w in caption.words} - {None} == set(caption.nouns)
        assert set(caption.nouns) <= {*sample.object_nouns, sample.scene.background}
        assert len(caption.nouns) >= 2
        unnamed += bool(set(sample.object_nouns) - set(caption.nouns))
    assert 0.2 < unnamed / len(hard) < 0.8


def test_relations_are_true(hard):
    checked = 0
    for sample in hard:
        centre = {o.noun: np.array(o.centre) for o in sample.scene.objects}
        words = sample.caption.words
        for i, (word, *_rest, owner) in enumerate(words):
            if owner is None and word in ('above', 'over', 'below', 'under', 'left'):
                before = next(w[3] for w in reversed(words[:i]) if w[3])
                after = next(w[3] for w in words[i:] if w[3])
                dx, dy = centre[before] - centre[after]
                assert {'above': dy < 0, 'over': dy < 0, 'left': dx < 0}.get(word, dy > 0)
                checked += 1
    assert checked > 50


def test_an_offline_tagger_finds_exactly_the_nouns(hard):
    tagger = pytest.importorskip('textblob.en.taggers').PatternTagger()
    for sample in hard[:100]:
        tags = tagger.tag(sample.caption.text)
        found = dict.fromkeys(word for word, tag in tags if tag.startswith('NN'))
        assert tuple(found) == sample.caption.nouns, sample.caption.text
    ids = tokenize([*NOUNS, *BACKGROUNDS, *COLOURS])
    assert (ids.argmax(1) == 2).all()  # start, the word, end: nouns are single tokens


def test_shards_have_img2datasets_layout(world, tmp_path):
    write_shards(world, tmp_path, count=5, per_shard=3)
    names = sorted(p.name for p in tmp_path.iterdir())
    parts = ('.parquet', '.tar', '_stats.json')
    assert names == sorted(f'{shard:05d}{part}' for shard in (0, 1) for part in parts)
    with tarfile.open(tmp_path / '00001.tar') as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
    assert list(members)[:3] == ['000010000.jpg', '000010000.json', '000010000.txt']
    sample = world.sample('train', 3)
    record = json.loads(members['000010000.json'])
    assert members['000010000.txt'].decode() == record['caption'] == sample.caption.text
    assert record['nouns'] == list(sample.caption.nouns)
    assert [w[3] for w in record['words']] == [w[3] for w in sample.caption.words]
    picture = cv2.imdecode(np.frombuffer(members['000010000.jpg'], np.uint8), 1)[..., ::-1]
    assert np.abs(picture.astype(int) - sample.image).mean() < 12
    table = pq.read_table(tmp_path / '00000.parquet').to_pylist()
    assert [row['key'] for row in table] == ['000000000', '000000001', '000000002']
    write_shards(world, tmp_path / 'again', count=5, per_shard=3, workers=2)
    for name in ('00000.tar', '00001.tar'):
        assert (tmp_path / name).read_bytes() == (tmp_path / 'again' / name).read_bytes()


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
    for i, noun in enumerate(sample.object_nouns):
        assert (labels[sample.instances == i + 1] == 1 + NOUNS.index(noun)).all()
    assert (labels[sample.instances == 0] == 0).all()
    assert cv2.imread(str(tmp_path / image)).shape == (32, 32, 3)
    lines = (tmp_path / f'captions_{split}.jsonl').read_text().splitlines()
    assert json.loads(lines[2])['image'] == image
    assert json.loads(lines[2])['caption'] == sample.caption.text


READINGS = {
    'annotations': (dict(), ('background', *NOUNS), 0),
    'annotations ': (dict(with_background=False), NOUNS, 1),
    'annotations_with_backgrounds': (
        dict(with_background=False, background_nouns=True),
        (*NOUNS, *BACKGROUNDS),
        1,
    ),
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    write_evaluation(ShapesWorld('hard', 48), folder, 4)
    return folder


@pytest.mark.parametrize('step', [1, -2])
@pytest.mark.parametrize('labels', READINGS)
def test_a_data_set_of_all_or_some_classes(root, labels, step):
    keys, everything, first = READINGS[labels]
    kept = everything[::step]
    data = DATASETS.build(
        dict(
            type='ShapesWorldDataset',
            data_root=str(root),
            data_prefix=dict(
                img_path='images/validation', seg_map_path=f'{labels.strip()}/validation'
            ),
            pipeline=[dict(type='mmseg.LoadAnnotations')],
            **(dict(metainfo=dict(classes=kept)) if step < 0 else {}),
            **keys,
        )
    )
    assert data.metainfo['classes'] == kept and len(data.metainfo['palette']) == len(kept)
    seen = set()
    for i in range(len(data)):
        on_disk = cv2.imread(data.get_data_info(i)['seg_map_path'], cv2.IMREAD_UNCHANGED)
        expected = np.full(on_disk.shape, 255)
        for j, name in enumerate(kept):
            expected[on_disk == first + everything.index(name)] = j
        found = data[i]['gt_seg_map']
        assert np.array_equal(found, expected)
        seen |= set(np.unique(found))
    assert len(seen) > 2


def test_data_sets_that_cannot_be(root):
    with pytest.raises(ValueError, match='at most one of with_background and background_nouns'):
        DATASETS.build({'type': 'ShapesWorldDataset', 'background_nouns': True})
    with pytest.raises(ValueError, match=r"but got \['grass'\].*background_nouns"):
        metainfo = dict(classes=['star', 'grass'])
        DATASETS.build(dict(type='ShapesWorldDataset', data_root=str(root), metainfo=metainfo))
