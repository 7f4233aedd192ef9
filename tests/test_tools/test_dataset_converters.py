"""The tools that make, index, tag and check shards, run inside this process."""

import json
import multiprocessing
import runpy
import sys
import time
from pathlib import Path

import pytest

from code_mm.datasets.captions import CaptionListDataset, CaptionShardsDataset
from code_mm.datasets.preparation import noun_extraction
from code_mm.nouns import NounSelector
from code_mm.nouns.noun_cache import NounTable

FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'dataset_converters'


@pytest.fixture
def run(monkeypatch, capsys):
    """``run('index_shards', 'a.tar', …)`` -> exit code and what it printed."""

    def run_tool(name, *args):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        code = 0
        try:
            runpy.run_path(str(FOLDER / f'{name}.py'), run_name='__main__')
        except SystemExit as end:
            if isinstance(end.code, str):
                raise
            code = end.code or 0
        return code, capsys.readouterr().out

    return run_tool


@pytest.fixture
def shards(write_pairs, tmp_path):
    """Six shards of three captions."""
    for number in range(6):
        write_pairs(f'shards/{number:05d}.tar', [f'a dog {number}', 'a cat and a car', 'running'])
    return tmp_path / 'shards'


def test_nouns_are_extracted_once(run, shards, write_pairs, tmp_path):
    out = tmp_path / 'nouns'
    options = ('--out', out, '--tagger', 'textblob', '--workers', 2)
    code, text = run('extract_nouns', shards / '{00000..00006}.tar', *options)
    assert code == 0
    assert '7 shards: 1 missing, 0 done before, 6 to tag' in text
    assert '18 captions tagged; 6 name nothing, 0 unreadable' in text
    assert '12,423,374 of CC12M would take' in text
    assert 'Nothing was left to tag' in run('extract_nouns', shards, *options)[1]
    load = dict(type='LoadNouns', cache=str(out), tagger='textblob')
    dataset = CaptionShardsDataset(str(shards), pipeline=[load])
    assert [dataset[i]['nouns'] for i in (3, 4, 5)] == [['dog'], ['cat', 'car'], []]
    counts = dataset.pipeline.transforms[0].cache.counts()
    assert counts == dict(found=3, missing=0, changed=0)
    other = write_pairs('other/00001.tar', ['a dog'])
    with pytest.raises(SystemExit, match=r'would both write .*00001\.nouns\.arrow'):
        run('extract_nouns', shards, other, *options)


def test_nouns_of_lists(run, tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_text('{"image": "1.jpg", "caption": "a dog"}\n{"image": "2.jpg", "caption": 5}\n')
    options = (path, '--tagger', 'textblob', '--workers', 1)
    assert '1 captions tagged' in run('extract_nouns', *options)[1]
    assert 'done before' in run('extract_nouns', *options)[1]
    dataset = CaptionListDataset(str(path), pipeline=[dict(type='LoadNouns', cache='beside')])
    assert dataset[0]['nouns'] == ['dog']
    path.write_text('{"image": "1.jpg", "caption": 5}\n')
    with pytest.raises(SystemExit, match='no row has a caption'):
        run('extract_nouns', *options)


def slow_extraction(run, args):
    class Slow(NounSelector):
        def __call__(self, caption):
            time.sleep(0.1)
            return super().__call__(caption)

    noun_extraction.NounSelector = Slow  # in the process that will be killed
    run('extract_nouns', *args)


def test_killed_in_mid_run(run, shards, tmp_path):
    out = tmp_path / 'nouns'
    args = (shards, '--out', out, '--tagger', 'textblob', '--workers', 2)
    context = multiprocessing.get_context('fork')
    process = context.Process(target=slow_extraction, args=(run, args))
    process.start()
    deadline = time.monotonic() + 300
    while not list(out.glob('*.nouns.arrow')) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    time.sleep(1)  # its workers end now, too
    finished = sorted(out.glob('*.nouns.arrow'))
    times = {path: path.stat().st_mtime_ns for path in finished}
    assert 0 < len(finished) < 6
    assert all(len(NounTable(str(path))) == 3 for path in finished)
    text = run('extract_nouns', *args)[1]
    assert f'{3 * (6 - len(finished))} captions tagged' in text
    assert {path: path.stat().st_mtime_ns for path in finished} == times
    assert len(list(out.glob('*.nouns.arrow'))) == 6


def test_index(run, shards, tmp_path, monkeypatch):
    folder = tmp_path / 'index'
    (shards / '00006.tar').touch()
    code, text = run('index_shards', shards, '--index-dir', folder, '--workers', 2)
    assert code == 0
    assert '18 image-caption pairs in 7 shards' in text
    assert "left out: {'unreadable_shard': 1}" in text

    def scan(*args):
        raise AssertionError('scanned again')

    monkeypatch.setattr('code_mm.datasets.shards.shard_index.scan_shard', scan)
    assert run('index_shards', shards, '--index-dir', folder, '--workers', 1) == (0, text)
    dataset = CaptionShardsDataset(str(shards), index_dir=str(folder))
    assert dataset[17]['caption'] == 'running'


def test_check(run, shards, tmp_path):
    out = tmp_path / 'check'
    options = (shards, '--out', out, '--workers', 2, '--tagger', 'textblob', '--num-nouns', 1)
    code, text = run('check_shards', *options)
    assert code == 0
    summary = json.loads((out / 'summary.json').read_text())
    assert '"few_nouns": 6' in text
    assert (summary['pairs'], summary['usable'], summary['broken']) == (18, 12, 0)
    # pictures and captions of all six shards are the same, but for the first caption of each
    assert summary['problems'] == dict(duplicate_pair=10, few_nouns=6)
    assert summary['most_frequent_nouns'] == dict(car=6, cat=6, dog=6)

    (shards / '00002.tar').write_bytes((shards / '00002.tar').read_bytes()[:4000])
    code, text = run('check_shards', *options)
    assert code == 1
    assert '1 things are broken (allowed: few_nouns, empty_caption, duplicate_pair, ' in text
    rows = [json.loads(line) for line in (out / 'problems.jsonl').read_text().splitlines()]
    assert [r['shard'] for r in rows if r['reason'] == 'truncated_shard'] == ['00002.tar']
    allow = 'truncated_shard,few_nouns,duplicate_pair,missing_caption'
    assert run('check_shards', *options, '--allow', allow)[0] == 0
    with pytest.raises(SystemExit, match=r"--allow: expected reasons among .*got \['few_noun'\]"):
        run('check_shards', shards, '--allow', 'few_noun')
    with pytest.raises(SystemExit, match='--limit: expected at least 1, but got 0'):
        run('check_shards', shards, '--limit', 0)


def test_coco_to_shards(run, tmp_path, image_bytes):
    """Five captions of three images, of which one is broken and one is absent."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / '1.png').write_bytes(image_bytes(1))
    (tmp_path / 'images' / '2.png').write_bytes(b'not found')
    owners = [1, 1, 1, 2, 3]
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png') for i in (1, 2, 3)],
        annotations=[dict(id=j, image_id=i, caption=f'text {j}') for j, i in enumerate(owners)],
    )
    source, out = tmp_path / 'captions.json', tmp_path / 'shards'
    source.write_text(json.dumps(content))
    options = ('--images', tmp_path / 'images', '--samples-per-shard', 2, '--workers', 2)
    code, text = run('captions_to_shards', source, out, *options)
    assert code == 1
    assert '3 shards: 0 written before, 3 to write' in text
    assert f'3 of 5 pairs are in {out}' in text
    assert "{'broken_image': 1, 'missing_image': 1}" in text
    left_out = [json.loads(line) for line in (out / 'left_out.jsonl').read_text().splitlines()]
    assert [Path(row['url']).name for row in left_out] == ['2.png', '3.png']
    found = [(s['caption'], s['img_bytes']) for s in CaptionShardsDataset(str(out))]
    assert found == [(f'text {j}', image_bytes(1)) for j in range(3)]

    (out / '00001.tar').unlink()  # as if it had been killed
    code, text = run('captions_to_shards', source, out, *options, '--max-bad-fraction', 0.5)
    assert code == 0
    assert '3 shards: 2 written before, 1 to write' in text
    assert (out / '00001.tar').is_file()
    with pytest.raises(SystemExit, match=r'holds shards of something else \(00001.tar\)'):
        run('captions_to_shards', source, out, '--samples-per-shard', 10)
    with pytest.raises(SystemExit, match='to be a file or a folder'):
        run('captions_to_shards', tmp_path / 'nothing', out)
