"""The world, its captions, and what is written of it."""

import json
import tarfile

import cv2
import numpy as np
import pytest
import torch

from code_mm.tokenizers import CLIPTokenizer
from projects.shapes_world import (
    BACKGROUNDS,
    COLOURS,
    LEVELS,
    NOUNS,
    ShapesWorld,
    ShapesWorldDataset,
    WordMaskAccuracy,
    write_shards,
)
from projects.shapes_world.captions import CAPTION_WORDS


@pytest.fixture(scope='module')
def hard():
    world = ShapesWorld('hard', seed=2)
    return [world.sample('train', i) for i in range(300)]


def test_a_sample_depends_on_seed_split_and_index_only():
    def sample(seed=5, split='train', index=7):
        return ShapesWorld('hard', seed=seed).sample(split, index)

    a, b = sample(), sample()
    assert np.array_equal(a.image, b.image) and a.caption == b.caption and a.scene == b.scene
    others = sample(index=8), sample(split='validation'), sample(seed=6)
    assert not any(np.array_equal(a.image, other.image) for other in others)


@pytest.mark.parametrize('level', sorted(LEVELS))
def test_scenes_keep_what_the_level_promises(level):
    world, keys = ShapesWorld(level, seed=3), LEVELS[level]
    samples = [world.sample('train', i) for i in range(40)]
    least, most = keys.num_objects
    for sample in samples:
        names, colours = sample.object_nouns, [o.colour for o in sample.scene.objects]
        assert 1 <= len(names) == len(set(names)) <= most
        assert set(names) <= set(NOUNS[: keys.num_nouns])
        assert len(set(colours)) == len(colours)
        assert not set(colours) & set(BACKGROUNDS[sample.scene.background][1])
        assert set(np.unique(sample.instances)) <= set(range(len(names) + 1))
    # the first object always stays; nearly all others find a place
    assert np.mean([len(s.object_nouns) for s in samples]) > (least + most) / 2 - 0.3
    areas = [(s.instances == i + 1).mean() for s in samples for i in range(len(s.object_nouns))]
    assert 0.5 * keys.area[0] < np.min(areas) and np.max(areas) < 1.1 * keys.area[1]


def test_words_spans_and_owners_are_true_to_text_and_scene(hard):
    known = {word for text in CAPTION_WORDS for word in text.split()}
    signs = {'above': (1, -1), 'over': (1, -1), 'below': (1, 1), 'under': (1, 1), 'left': (0, -1)}
    unnamed = relations = 0
    for sample in hard:
        caption, by_noun = sample.caption, {o.noun: o for o in sample.scene.objects}
        assert ''.join(w[0] for w in caption.words) == caption.text.replace(' ', '')
        for i, (word, start, end, owner) in enumerate(caption.words):
            assert caption.text[start:end] == word and word in known
            if word in COLOURS:
                assert by_noun[owner].colour == word
            if word in ('plain', 'striped', 'dotted'):
                assert by_noun[owner].texture == word
            if owner is None and word in signs:
                before = next(w[3] for w in reversed(caption.words[:i]) if w[3])
                after = next(w[3] for w in caption.words[i:] if w[3])
                axis, sign = signs[word]
                assert sign * by_noun[before].centre[axis] > sign * by_noun[after].centre[axis]
                relations += 1
        assert {w[3] for w in caption.words} - {None} == set(caption.nouns)
        assert set(caption.nouns) <= {*sample.object_nouns, sample.scene.background}
        assert len(caption.nouns) >= 2
        unnamed += bool(set(sample.object_nouns) - set(caption.nouns))
    assert 0.2 < unnamed / len(hard) < 0.8 and relations > 50


def test_an_offline_tagger_finds_exactly_the_nouns(hard):
    tagger = pytest.importorskip('textblob.en.taggers').PatternTagger()
    for sample in hard[:100]:
        tags = tagger.tag(sample.caption.text)
        found = dict.fromkeys(word for word, tag in tags if tag.startswith('NN'))
        assert tuple(found) == sample.caption.nouns, sample.caption.text
    ids = CLIPTokenizer().tokenize([*NOUNS, *BACKGROUNDS, *COLOURS])
    assert (ids.argmax(1) == 2).all()  # start, the word, end: nouns are single tokens


def test_shards_hold_the_world_whatever_the_processes(tmp_path):
    world, folders = ShapesWorld('hard', size=32, seed=1), (tmp_path / 'one', tmp_path / 'two')
    for workers, folder in enumerate(folders, 1):
        write_shards(world, folder, count=5, per_shard=3, workers=workers)
    assert {path.name for path in folders[0].glob('*.tar')} == {'00000.tar', '00001.tar'}
    one, two = (folder / '00001.tar' for folder in folders)
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as tar:
        image, record, text = (tar.extractfile(member).read() for member in tar.getmembers()[:3])
    sample, record = world.sample('train', 3), json.loads(record)
    assert text.decode() == record['caption'] == sample.caption.text
    assert record['words'] == [list(word) for word in sample.caption.words]
    picture = cv2.imdecode(np.frombuffer(image, np.uint8), 1)[..., ::-1]
    assert np.abs(picture.astype(int) - sample.image).mean() < 12


@pytest.mark.parametrize(
    ('keys', 'everything', 'first', 'step'),
    [
        (dict(), ('background', *NOUNS), 0, 1),
        (dict(with_background=False), NOUNS, 1, -2),
        (dict(with_background=False, background_nouns=True), (*NOUNS, *BACKGROUNDS), 1, -2),
    ],
)
def test_a_data_set_of_all_or_some_classes(shapes_folder, keys, everything, first, step):
    kept = everything[::step]
    labels = 'annotations_with_backgrounds' if 'background_nouns' in keys else 'annotations'
    data = ShapesWorldDataset(
        data_root=str(shapes_folder),
        data_prefix=dict(img_path='images/validation', seg_map_path=f'{labels}/validation'),
        pipeline=[dict(type='mmseg.LoadAnnotations')],
        metainfo=dict(classes=kept) if step < 0 else None,
        **keys,
    )
    assert data.metainfo['classes'] == kept and len(data.metainfo['palette']) == len(kept)
    for i in range(len(data)):
        on_disk = cv2.imread(data.get_data_info(i)['seg_map_path'], cv2.IMREAD_UNCHANGED)
        sample = ShapesWorld('hard').sample('validation', i)
        for j, noun in enumerate(sample.object_nouns):
            assert (on_disk[sample.instances == j + 1] == 1 + NOUNS.index(noun)).all()
        expected = np.full(on_disk.shape, 255)
        for j, name in enumerate(kept):
            expected[on_disk == first + everything.index(name)] = j
        assert np.array_equal(data[i]['gt_seg_map'], expected)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match=r"expected a level of .*'hard'.*but got 'harder'"):
        ShapesWorld('harder')
    with pytest.raises(ValueError, match=r"but got \['grass'\].*background_nouns"):
        ShapesWorldDataset(metainfo=dict(classes=['star', 'grass']))


def test_word_accuracy_by_hand(tmp_path):
    owners = dict(a=None, striped='star', red='star', star='star', near=None, the=None, boat='boat')
    words, text = [(word, 0, 0, owner) for word, owner in owners.items()], ' '.join(owners)
    (tmp_path / 'a.jsonl').write_text(json.dumps(dict(caption=text, words=words)))
    masks = torch.full((2, 12), 0.1)  # of boat and star; every word is one token
    # striped right, red at the wrong noun, star right, near at a noun, boat missed
    for word, slot in {1: 1, 2: 0, 3: 1, 4: 1}.items():
        masks[slot, word + 1] = 0.6
    metric = WordMaskAccuracy(str(tmp_path / 'a.jsonl'))
    sample = dict(word_masks=masks, caption=text, selected_nouns=['boat', 'star'])
    metric.process(None, [sample])
    assert metric.evaluate(1) == pytest.approx(
        dict(word_accuracy=4 / 7, word_accuracy_none=3 / 7, attribute_accuracy=1 / 2)
    )
    with pytest.raises(ValueError, match=r"expected a caption of .* but got 'another'"):
        metric.process(None, [{**sample, 'caption': 'another'}])


def test_captions_are_tokenised_word_by_word(hard):
    for sample in hard[:100]:
        ids = [i for word, *_ in sample.caption.words for i in CLIPTokenizer().encode(word)]
        assert CLIPTokenizer().encode(sample.caption.text) == ids
