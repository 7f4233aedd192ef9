import json

import numpy as np
import pytest

from code_mm.datasets.preparation.noun_extraction import NounExtraction
from code_mm.datasets.preparation.shard_check import ShardCheck, ShardReport, report_page


@pytest.fixture
def planted(write_tar, image_bytes):
    """Two shards, in which every kind of problem is planted once or twice."""
    big = image_bytes(0, height=30, width=60)
    first = {
        'good.jpg': big,
        'good.txt': b'a dog and a cat',
        'text.jpg': b'<html>not found</html>',
        'text.txt': b'a dog and a car',
        'cut.jpg': big[:400],
        'cut.txt': b'a cup',
        'lonely.jpg': big,
        'mute.jpg': big,
        'mute.txt': b'',
        'blank.jpg': big,
        'blank.txt': b' \n',
        'small.jpg': image_bytes(1, height=8, width=20),
        'small.txt': b'a house and a tree',
        'bytes.jpg': image_bytes(2, height=50, width=40),
        'bytes.txt': 'a café and a bar'.encode('latin-1'),
        'fields.jpg': big,
        'fields.txt': b'a dog and a cat',
        'fields.json': b'{"nouns": ',
    }
    second = {
        'again.jpg': big,
        'again.txt': b'a dog and a cat',
        'image.jpg': big,
        'image.txt': b'Running quickly!',
        'own.jpg': image_bytes(3, height=20, width=20),
        'own.txt': b'whatever this is',
        'own.json': json.dumps(dict(nouns=['dog', 'sea'])).encode(),
    }
    return [write_tar('a.tar', first), write_tar('b.tar', second), '/nowhere/c.tar']


def check(paths, report=None, **settings):
    report = report or ShardReport()
    for path in paths:
        report.add(ShardCheck(**{'nouns': dict(tagger='textblob'), **settings})(path))
    return report


def test_every_planted_problem_is_found(planted):
    problems = [(p.reason, p.key) for p in check(planted[::-1]).problems()]
    assert sorted(problems) == sorted(
        [
            ('broken_image', 'a.tar/text'),
            ('broken_image', 'a.tar/cut'),
            ('few_nouns', 'a.tar/cut'),  # both are told
            ('missing_caption', 'a.tar/lonely'),
            ('empty_caption', 'a.tar/mute'),
            ('empty_caption', 'a.tar/blank'),
            ('small_image', 'a.tar/small'),
            ('bad_fields', 'a.tar/fields'),
            ('few_nouns', 'b.tar/image'),
            ('missing_shard', 'c.tar'),
            ('duplicate_pair', 'b.tar/again'),
        ]
    )
    (twin,) = [p for p in check(planted).problems() if p.reason == 'duplicate_pair']
    assert twin.detail == 'same as a.tar/good'


def test_counts_and_statistics(planted):
    summary = check(planted).summary(num_top=2)
    expected = dict(
        shards=3,
        pairs=10,
        checked=10,
        usable=4,
        captions=8,
        repeated_images=2,
        captions_with_invalid_utf8=1,
        captions_without_nouns=1,
        captions_with_fewer_than_2_nouns=2,
        broken=6,
        noun_cache={},
        most_frequent_nouns=dict(dog=4, cat=2),
    )
    assert {key: summary[key] for key in expected} == expected
    captions = ['a dog and a cat', 'a dog and a car', 'a cup', 'a house and a tree']
    captions += ['a caf\ufffd and a bar', 'a dog and a cat', 'Running quickly!', 'whatever this is']
    for name, values in {
        'image width': (60, 40, 60, 60, 20),  # good, bytes, again, image, own
        'image height': (30, 50, 30, 30, 20),
        'caption characters': list(map(len, captions)),
        'caption words': [len(caption.split()) for caption in captions],
    }.items():
        found = summary['statistics'][name]
        assert (found['min'], found['max']) == (min(values), max(values))
        assert found['median'] == np.median(values)
        assert found['mean'] == pytest.approx(np.mean(values))


def test_settings(planted):
    assert check(planted, ShardReport(allowed=())).summary()['broken'] == 11
    kinds = ('broken_image', 'small_image', 'missing_caption', 'bad_fields', 'missing_shard')
    assert check(planted, ShardReport(allowed=kinds)).summary()['broken'] == 5
    assert not [p for p in check(planted, num_nouns=1).problems() if p.key == 'a.tar/cut'][1:]
    assert 'small_image' not in {p.reason for p in check(planted, min_size=4).problems()}
    unread = check(planted, dataset=dict(nouns_field=None))
    assert 'bad_fields' not in {p.reason for p in unread.problems()}
    few = check(planted, limit=2).summary()
    assert (few['pairs'], few['checked']) == (10, 4)


def test_noun_cache(planted):
    NounExtraction(tagger='textblob').tag_shard(planted[1])
    report = check(planted[1:2], nouns=dict(cache='beside', tagger='textblob'))
    assert report.summary()['noun_cache'] == dict(found=2, missing=0, changed=0)


def test_page(planted, write_tar):
    lines = report_page(check(planted).summary(), 'nouns.png').splitlines()
    for line in (
        '| pairs | 10 |',
        '| broken_image | 2 | yes |',
        '| few_nouns | 2 | no |',
        '| dog | 4 |',
        '![Most frequent nouns](nouns.png)',
    ):
        assert line in lines
    nothing = check([write_tar('e.tar', {'1.txt': b'a'})]).summary()
    assert (nothing['pairs'], nothing['problems']) == (0, dict(missing_image=1))
    assert '| image width |  |' in report_page(nothing)


def test_photos(photo_folder):
    report = check(sorted(map(str, photo_folder.glob('*.tar'))))
    summary = report.summary()
    rows = [json.loads(p.read_text()) for p in photo_folder.glob('*_stats.json')]
    successes = sum(row['successes'] for row in rows)
    assert summary['pairs'] == successes - summary['problems']['empty_caption']
    assert summary['broken'] == 0
    few = summary['problems']['few_nouns']
    assert summary['usable'] == summary['pairs'] - few
    assert summary['captions_with_fewer_than_2_nouns'] == few
    names = {p.key for p in report.problems() if p.reason == 'few_nouns'}
    assert '00000.tar/0000015' in names  # 'gravel'
    assert '00000.tar/0000017' in names  # 'Running quickly!'
    assert summary['captions_without_nouns'] == 1
