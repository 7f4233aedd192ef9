import numpy as np
import pytest
from hostile_shards import members_of
from shard_check import ShardCheck, ShardReport

from code_mm.datasets.preparation.noun_extraction import NounExtraction


@pytest.fixture
def planted(write_tar, image_bytes):
    """Two shards, in which every kind of problem is planted once or twice, and one missing."""
    big = image_bytes(0, height=30, width=60)
    first = {
        'good': dict(jpg=big, txt=b'a dog and a cat'),
        'text': dict(jpg=b'<html>not found</html>', txt=b'a dog and a car'),
        'cut': dict(jpg=big[:400], txt=b'a cup'),
        'lonely': dict(jpg=big),
        'mute': dict(jpg=big, txt=b''),
        'blank': dict(jpg=big, txt=b' \n'),
        'small': dict(jpg=image_bytes(1, height=8, width=20), txt=b'a house and a tree'),
        'bytes': dict(jpg=image_bytes(2, 50, 40), txt='a café and a bar'.encode('latin-1')),
        'fields': dict(jpg=big, txt=b'a dog and a cat', json=b'{"nouns": '),
    }
    second = {
        'again': dict(jpg=big, txt=b'a dog and a cat'),
        'image': dict(jpg=big, txt=b'Running quickly!'),
        'own': dict(jpg=image_bytes(3, 20, 20), txt=b'whatever', json=b'{"nouns": ["dog", "sea"]}'),
    }
    paths = [write_tar(f'{n}.tar', members_of(s)) for n, s in dict(a=first, b=second).items()]
    return [*paths, '/nowhere/c.tar']


def check(paths, allowed=None, **settings):
    report = ShardReport() if allowed is None else ShardReport(allowed)
    for path in paths:
        report.add(ShardCheck(**{'nouns': dict(tagger='textblob'), **settings})(path))
    return report


def test_every_planted_problem_is_found_and_all_is_counted(planted):
    report = check(planted[::-1])  # in whatever order the shards end
    problems = report.problems()
    assert sorted((p.reason, p.key) for p in problems) == [
        ('bad_fields', 'a.tar/fields'),
        ('broken_image', 'a.tar/cut'),
        ('broken_image', 'a.tar/text'),
        ('duplicate_pair', 'b.tar/again'),
        ('empty_caption', 'a.tar/blank'),
        ('empty_caption', 'a.tar/mute'),
        ('few_nouns', 'a.tar/cut'),  # both are told
        ('few_nouns', 'b.tar/image'),
        ('missing_caption', 'a.tar/lonely'),
        ('missing_shard', 'c.tar'),
        ('small_image', 'a.tar/small'),
    ]
    assert {p.detail for p in problems if p.reason == 'duplicate_pair'} == {'same as a.tar/good'}
    summary = report.summary(num_top=2)
    counts = dict(shards=3, pairs=10, checked=10, usable=4, captions=8, broken=6)
    oddities = dict(captions_with_invalid_utf8=1, captions_without_nouns=1, repeated_images=2)
    nouns = dict(noun_cache={}, most_frequent_nouns=dict(dog=4, cat=2))
    assert summary | counts | oddities | nouns == summary
    widths = (60, 40, 60, 60, 20)  # good, bytes, again, image, own
    found = summary['statistics']['image width']
    assert (found['min'], found['median'], found['max']) == (20, 60, 60)
    assert found['mean'] == pytest.approx(np.mean(widths))
    assert summary['statistics']['caption words']['max'] == 5


def test_settings(planted, write_tar):
    assert check(planted, allowed=()).summary()['broken'] == 11
    for reason, settings in (
        ('few_nouns', dict(num_nouns=1)),
        ('small_image', dict(min_size=4)),
        ('bad_fields', dict(dataset=dict(nouns_field=None))),
    ):
        assert reason not in {p.reason for p in check(planted[:1], **settings).problems()}
    few = check(planted, limit=2).summary()
    assert (few['pairs'], few['checked']) == (10, 4)
    NounExtraction(tagger='textblob').tag_shard(planted[1])
    cached = check(planted[1:2], nouns=dict(cache='beside', tagger='textblob'))
    assert cached.summary()['noun_cache'] == dict(found=2, missing=0, changed=0)
    nothing = check([write_tar('e.tar', {'1.txt': b'a'})]).summary()
    assert (nothing['pairs'], nothing['problems']) == (0, dict(missing_image=1))
    assert nothing['statistics']['image width'] == {}
