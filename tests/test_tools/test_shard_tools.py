"""The tools of tools/dataset_converters that write, index, tag and check shards."""

import csv
import hashlib
import json
import multiprocessing
import re
import tarfile
import time
from pathlib import Path

import pytest
from hostile_shards import members_of
from shard_conversion import Pair, convert, shard_jobs

from code_mm.datasets.captions import CaptionShardsDataset
from code_mm.datasets.preparation.shard_writer import ShardSample, write_shard
from code_mm.nouns import NounSelector
from code_mm.nouns.noun_cache import NounCache, NounTable


@pytest.fixture
def shards(write_pairs, tmp_path):
    """Six shards of three captions."""
    for number in range(6):
        write_pairs(f'shards/{number:05d}.tar', [f'a dog {number}', 'a cat and a car', 'running'])
    return tmp_path / 'shards'


def slow_extraction(run, args):
    select = NounSelector.__call__  # changed in the process that will be killed
    NounSelector.__call__ = lambda self, caption: time.sleep(0.1) or select(self, caption)
    run('extract_nouns', *args)


def test_nouns_are_extracted_once_though_killed(run, shards, write_pairs, tmp_path):
    out, rows = tmp_path / 'nouns', tmp_path / 'a.jsonl'
    rows.write_text('{"image": "1.jpg", "caption": "a dog"}\n{"image": "2.jpg", "caption": 5}\n')
    options = (rows, '--out', out, '--tagger', 'textblob', '--workers', 2)
    context = multiprocessing.get_context('fork')
    process = context.Process(target=slow_extraction, args=(run, (shards, *options)))
    process.start()
    deadline = time.monotonic() + 300
    while not list(out.glob('*.nouns.arrow')) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    time.sleep(1)  # its workers end now, too
    finished = {path: path.stat().st_mtime_ns for path in out.glob('*.nouns.arrow')}
    done = len(finished)
    assert 0 < done < 6

    said = run('extract_nouns', shards / '{00000..00006}.tar', *options)
    assert f'7 shards: 1 missing, {done} done before, {6 - done} to tag' in said
    assert f'{19 - 3 * done} captions tagged; {6 - done} name nothing, 0 unreadable' in said
    assert '12,423,374 of CC12M would take' in said
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    tables = [NounTable(str(path)) for path in sorted(out.glob('*.nouns.arrow'))]
    assert [len(table) for table in tables] == [3] * 6 + [1]
    cache = NounCache(str(out), 'textblob')
    assert cache.find(str(shards / '00001.tar'), '0000001', 'a cat and a car') == ['cat', 'car']
    said = run('extract_nouns', shards, *options)
    assert 'Nothing was left to tag' in said and 'a.jsonl: done before' in said
    other = write_pairs('other/00001.tar', ['a dog'])
    said = run('extract_nouns', shards, other, *options, status=1)
    assert re.search(r'would both write .*00001\.nouns\.arrow', said)
    rows.write_text('{"image": "1.jpg", "caption": 5}\n')
    assert 'no row has a caption' in run('extract_nouns', *options, status=1)


def test_an_index_is_made_once(run, shards, tmp_path, monkeypatch):
    folder = tmp_path / 'index'
    (shards / '00006.tar').touch()
    for _ in range(2):
        said = run('index_shards', shards, '--index-dir', folder, '--workers', 1)
        assert '18 image-caption pairs in 7 shards' in said
        assert "left out: {'unreadable_shard': 1}" in said
        scan = 'code_mm.datasets.shards.shard_index.scan_shard'
        monkeypatch.setattr(scan, None)  # not called again
    assert CaptionShardsDataset(str(shards), index_dir=str(folder))[17]['caption'] == 'running'


@pytest.fixture
def check(run, write_tar, image_bytes, tmp_path):
    """Runs check_shards -> summary, problems; every kind of problem is planted once or twice."""
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
    for number, samples in enumerate([first, second, {'cut': second['own']}]):
        path = write_tar(f's{number}.tar', members_of(samples))
    Path(path).write_bytes(Path(path).read_bytes()[:700])

    def run_tool(*options, status=1):
        out = tmp_path / 'check'
        paths = tmp_path / 's{0..3}.tar'
        common = (paths, '--out', out, '--workers', 2, '--tagger', 'textblob')
        said = run('check_shards', *common, *options, status=status)
        rows = [json.loads(line) for line in (out / 'problems.jsonl').read_text().splitlines()]
        summary = json.loads((out / 'summary.json').read_text())
        assert len(rows) == sum(summary['problems'].values())
        assert json.dumps(summary, indent=4, ensure_ascii=False) in said
        return summary, rows

    return run_tool


def test_every_planted_problem_is_found_and_all_is_counted(check):
    summary, rows = check('--top', 2)
    assert sorted((row['reason'], f'{row["shard"]}/{row["key"]}') for row in rows) == [
        ('bad_fields', 's0.tar/fields'),
        ('broken_image', 's0.tar/cut'),
        ('broken_image', 's0.tar/text'),
        ('duplicate_pair', 's1.tar/again'),
        ('empty_caption', 's0.tar/blank'),
        ('empty_caption', 's0.tar/mute'),
        ('few_nouns', 's0.tar/cut'),  # both are told
        ('few_nouns', 's1.tar/image'),
        ('missing_caption', 's0.tar/lonely'),
        ('missing_shard', 's3.tar/'),
        ('small_image', 's0.tar/small'),
        ('truncated_shard', 's2.tar/cut.jpg'),
    ]
    (detail,) = (row['detail'] for row in rows if row['reason'] == 'duplicate_pair')
    assert detail == 'same as s0.tar/good'
    counts = dict(shards=4, pairs=10, checked=10, usable=4, captions=8, broken=7)
    oddities = dict(captions_with_invalid_utf8=1, captions_without_nouns=1, repeated_images=2)
    nouns = dict(noun_cache={}, most_frequent_nouns=dict(dog=4, cat=2))
    assert summary | counts | oddities | nouns == summary
    found = summary['statistics']['image width']  # good, bytes, again, image, own
    assert (found['min'], found['median'], found['max']) == (20, 60, 60)
    assert found['mean'] == pytest.approx((60 + 40 + 60 + 60 + 20) / 5)
    assert summary['statistics']['caption words']['max'] == 5


def test_settings_of_a_check(check, run, tmp_path):
    assert check('--allow', '')[0]['broken'] == 12
    allowed = 'truncated_shard,missing_shard,broken_image,missing_caption,bad_fields,small_image'
    check('--allow', f'{allowed},few_nouns,empty_caption,duplicate_pair', status=0)
    summary, _ = check('--num-nouns', 1, '--min-size', 4, '--limit', 2)
    assert not {'few_nouns', 'small_image'} & summary['problems'].keys()
    assert (summary['pairs'], summary['checked']) == (10, 4)
    run('extract_nouns', tmp_path / 's1.tar', '--tagger', 'textblob', '--workers', 1)
    assert check('--noun-cache', 'beside')[0]['noun_cache'] == dict(found=2, missing=5, changed=0)
    for option, value, message in (
        ('--allow', 'few_noun', r"--allow: expected reasons among .*got \['few_noun'\]"),
        ('--limit', 0, '--limit: expected at least 1, but got 0'),
    ):
        assert re.search(message, run('check_shards', tmp_path, option, value, status=1))


def left_out(folder):
    """File name and reason of each pair that is not in the shards."""
    rows = [json.loads(line) for line in (folder / 'left_out.jsonl').read_text().splitlines()]
    return [(Path(row.get('url', row['key'])).name, row['reason']) for row in rows]


def samples_of(folder, *fields):
    return [tuple(s[field] for field in fields) for s in CaptionShardsDataset(str(folder))]


def test_coco_to_shards(run, tmp_path, image_bytes):
    """All captions of an image or its first; what is written once is not written again."""
    (tmp_path / 'images').mkdir()
    for name in '739':
        (tmp_path / f'images/{name}.jpg').write_bytes(image_bytes(int(name)))
    captions = {5: (3, 'a dog'), 2: (3, 'two dogs'), 4: (7, 'a cat '), 6: (1, 'of no image')}
    annotations = [dict(id=i, image_id=n, caption=text) for i, (n, text) in captions.items()]
    images = [dict(id=number, file_name=f'{number}.jpg') for number in (7, 3, 9)]
    source, out = tmp_path / 'captions_val2017.json', tmp_path / 'shards'
    source.write_text(json.dumps(dict(images=images, annotations=annotations)))
    options = ('--images', tmp_path / 'images', '--workers', 2, '--samples-per-shard')
    said = run('captions_to_shards', source, out, *options, 2, status=1)
    assert '3 shards: 0 written before, 3 to write' in said
    assert f'3 of 5 pairs are in {out}' in said
    assert left_out(out) == [('9.jpg', 'missing_caption'), ('', 'missing_image')]
    expected = [(7, 'a cat'), (3, 'two dogs'), (3, 'a dog')]
    expected = [(text, image_bytes(number)) for number, text in expected]
    assert samples_of(out, 'caption', 'img_bytes') == expected
    with tarfile.open(out / '00001.tar') as tar:
        record = json.load(tar.extractfile('000010000.json'))
    assert (record['image_id'], record['annotation_id']) == (3, 5)
    run('captions_to_shards', source, tmp_path / 'b', *options, 9, '--captions', 'first', status=1)
    assert samples_of(tmp_path / 'b', 'caption') == [('a cat',), ('two dogs',)]

    (out / '00001.tar').unlink()  # as if it had been killed
    said = run('captions_to_shards', source, out, *options, 2, '--max-bad-fraction', 0.5)
    assert '3 shards: 2 written before, 1 to write' in said and (out / '00001.tar').is_file()
    said = run('captions_to_shards', source, out, *options, 10, status=1)
    assert 'holds shards of something else (00001.tar)' in said
    said = run('captions_to_shards', tmp_path / 'nothing', out, status=1)
    assert 'to be a file or a folder' in said
    for content in (dict(images=images, annotations=[dict(id=1, image_id=3)]), dict(captions=[])):
        source.write_text(json.dumps(content))
        said = run('captions_to_shards', source, out, status=2)
        assert 'to be a COCO captions file' in said


def test_a_list_to_shards(run, tmp_path, image_bytes):
    """Bytes are copied, other columns are kept, and bad pairs are named."""
    files = {
        '0.jpg': image_bytes(0),
        '1.jpg': b'text instead',
        '2.jpg': image_bytes(2)[:500],
        '3.wrong': image_bytes(3, suffix='.png'),
        '4.jpg': image_bytes(4, height=8),
        '6.webp': image_bytes(6, suffix='.webp'),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    source, out = tmp_path / 'a.csv', tmp_path / 'shards'
    names = [*list(files)[:5], 'absent.jpg', '6.webp', '']
    with open(source, 'w', encoding='utf-8') as file:
        rows = [(name, f' “dog” 犬 {i}', 'dog; leash', i, 'x') for i, name in enumerate(names)]
        csv.writer(file).writerows([('file', 'text', 'nouns', 'id', 'url'), *rows])
        file.write('a,b\n3.jpg,c,[1,8,x\n0.jpg, ,,9,x\n')
    options = ('--image-key', 'file', '--caption-key', 'text', '--images', tmp_path)
    options += ('--samples-per-shard', 4, '--workers', 1)
    run('captions_to_shards', source, out, *options, status=1)
    assert left_out(out) == [
        *(('a.csv:10', 'bad_row'), ('a.csv:11', 'bad_row')),
        *(('1.jpg', 'broken_image'), ('2.jpg', 'broken_image'), ('4.jpg', 'small_image')),
        *(('absent.jpg', 'missing_image'), ('', 'missing_image'), ('0.jpg', 'empty_caption')),
    ]
    keys = ['00000.tar/000000000', '00000.tar/000000003', '00001.tar/000010002']
    nouns = ['dog', 'leash']
    expected = [
        (key, f'“dog” 犬 {i}', files[names[i]], nouns)
        for key, i in zip(keys, (0, 3, 6), strict=True)
    ]
    assert samples_of(out, 'sample_key', 'caption', 'img_bytes', 'nouns') == expected
    with tarfile.open(out / '00000.tar') as tar:
        assert {member.mtime for member in tar} == {0}  # the bytes follow from the pairs
        kinds = [f'000000000.{kind}' for kind in ('jpg', 'json', 'txt')]
        assert set(tar.getnames()) == {*kinds, *(f'000000003.{k}' for k in ('png', 'json', 'txt'))}
        found = json.load(tar.extractfile('000000000.json'))
    record = dict(caption='“dog” 犬 0', url=str(tmp_path / '0.jpg'), key='000000000')
    record |= dict(width=56, height=40, sha256=hashlib.sha256(files['0.jpg']).hexdigest())
    assert found | record | dict(status='success', id='0') == found
    stats = json.loads((out / '00000_stats.json').read_text())
    assert (stats['count'], stats['successes']) == (4, 2)
    assert stats['status_dict'] == dict(broken_image=2, success=2)


def test_a_folder_to_shards(run, tmp_path, image_bytes):
    source, out = tmp_path / 'photos', tmp_path / 'shards'
    (source / 'b').mkdir(parents=True)
    for name in ('a.PNG', 'b/2.jpg', 'b/3.jpg', 'd.gif'):
        (source / name).write_bytes(image_bytes(7))
    for name, text in {'a': '\ufeffa café', 'b/3': 'a dog', 'c': 'of no image'}.items():
        (source / f'{name}.txt').write_text(text, encoding='utf-8')
    run('captions_to_shards', source, out, '--workers', 1, status=1)
    expected = [('a café', image_bytes(7)), ('a dog', image_bytes(7))]
    assert samples_of(out, 'caption', 'img_bytes') == expected
    expected = [('d.gif', 'unused_member'), ('2.jpg', 'missing_caption'), ('', 'missing_image')]
    assert left_out(out) == expected


def test_shards_are_done_until_their_pairs_or_settings_change(tmp_path, image_bytes):
    (tmp_path / '0.jpg').write_bytes(image_bytes(0))
    pairs = [Pair(str(tmp_path / '0.jpg'), f'text {i}', dict(id=i)) for i in range(7)]
    root = tmp_path / 'shards'
    root.mkdir()

    def done(pairs, *settings):
        return [job.finished_stats() is not None for job in shard_jobs(pairs, root, *settings)]

    def order(shuffle):
        jobs = shard_jobs(pairs, root, 4, shuffle=shuffle)
        return [pair.fields['id'] for job in jobs for pair in job.pairs]

    assert order(None) == list(range(7)) == sorted(order(1))
    assert order(1) == order(1) != order(2)
    convert(shard_jobs(pairs, root, 4)[0])
    assert done(pairs, 4) == [True, False]
    assert not done([pairs[0]._replace(caption='another'), *pairs[1:]], 4)[0]
    assert not done(pairs, 3)[0] and not done(pairs, 4, 8)[0]
    (root / '00000.tar').unlink()
    assert done(pairs, 4) == [False, False]

    def interrupted():
        yield ShardSample(b'image', 'jpg', 'a dog', 'x.jpg', 30, 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(root, 1, interrupted())
    assert [path.name for path in root.iterdir()] == ['00000_stats.json']
    (job,) = shard_jobs([pairs[0]._replace(caption=None)], root, 100_001)
    assert convert(job)['left_out'][0]['key'] == '00000000000'  # longer, as the shard is larger
    for few, size, message in (
        (pairs, 0, 'samples_per_shard >= 1, but got 0'),
        ([], 4, 'one pair'),
    ):
        with pytest.raises(ValueError, match=message):
            shard_jobs(few, root, size)
