"""The tools of tools/dataset_converters, run inside this process."""

import json
import multiprocessing
import runpy
import sys
import time
from dataclasses import replace
from pathlib import Path

import data_report
import numpy as np
import pytest
from miniature_benchmarks import make_miniature
from PIL import Image
from tiny_configs import CONFIGS

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.datasets.captions import CaptionShardsDataset
from code_mm.nouns import NounSelector
from code_mm.nouns.noun_cache import NounCache, NounTable

FOLDER = CONFIGS.parent / 'tools' / 'dataset_converters'
ALL = CONFIGS / 'eval' / 'code_vit-b16_all.py'


@pytest.fixture
def run(monkeypatch, capsys):
    """``run('index_shards', 'a.tar', …)`` -> exit code and what it printed."""

    def run_tool(name, *args):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        code = 0
        try:
            runpy.run_path(str(FOLDER / f'{name}.py'), run_name='__main__')
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                raise
        said = capsys.readouterr()
        return code, said.err if code == 2 else said.out

    return run_tool


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

    code, text = run('extract_nouns', shards / '{00000..00006}.tar', *options)
    assert code == 0
    assert f'7 shards: 1 missing, {done} done before, {6 - done} to tag' in text
    assert f'{19 - 3 * done} captions tagged; {6 - done} name nothing, 0 unreadable' in text
    assert '12,423,374 of CC12M would take' in text
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    tables = [NounTable(str(path)) for path in sorted(out.glob('*.nouns.arrow'))]
    assert [len(table) for table in tables] == [3] * 6 + [1]
    cache = NounCache(str(out), 'textblob')
    assert cache.find(str(shards / '00001.tar'), '0000001', 'a cat and a car') == ['cat', 'car']
    text = run('extract_nouns', shards, *options)[1]
    assert 'Nothing was left to tag' in text and 'a.jsonl: done before' in text
    other = write_pairs('other/00001.tar', ['a dog'])
    with pytest.raises(SystemExit, match=r'would both write .*00001\.nouns\.arrow'):
        run('extract_nouns', shards, other, *options)
    rows.write_text('{"image": "1.jpg", "caption": 5}\n')
    with pytest.raises(SystemExit, match='no row has a caption'):
        run('extract_nouns', *options)


def test_index(run, shards, tmp_path, monkeypatch):
    folder = tmp_path / 'index'
    (shards / '00006.tar').touch()
    code, text = run('index_shards', shards, '--index-dir', folder, '--workers', 2)
    assert code == 0
    assert '18 image-caption pairs in 7 shards' in text
    assert "left out: {'unreadable_shard': 1}" in text
    scan = 'code_mm.datasets.shards.shard_index.scan_shard'
    monkeypatch.setattr(scan, None)  # not called again
    assert run('index_shards', shards, '--index-dir', folder, '--workers', 1) == (0, text)
    assert CaptionShardsDataset(str(shards), index_dir=str(folder))[17]['caption'] == 'running'


def test_check(run, shards, tmp_path):
    (shards / '00002.tar').write_bytes((shards / '00002.tar').read_bytes()[:4000])
    out = tmp_path / 'check'
    options = (shards, '--out', out, '--workers', 2, '--tagger', 'textblob', '--num-nouns', 1)
    code, text = run('check_shards', *options)
    assert code == 1
    assert '1 things are broken (allowed: few_nouns, empty_caption, duplicate_pair, ' in text
    summary = json.loads((out / 'summary.json').read_text())
    assert f'"few_nouns": {summary["problems"]["few_nouns"]}' in text
    assert summary['shards'] == 6
    rows = [json.loads(line) for line in (out / 'problems.jsonl').read_text().splitlines()]
    assert [r['shard'] for r in rows if r['reason'] == 'truncated_shard'] == ['00002.tar']
    assert len(rows) == sum(summary['problems'].values())
    allow = 'truncated_shard,few_nouns,duplicate_pair,missing_caption'
    assert run('check_shards', *options, '--allow', allow)[0] == 0
    with pytest.raises(SystemExit, match=r"--allow: expected reasons among .*got \['few_noun'\]"):
        run('check_shards', shards, '--allow', 'few_noun')
    with pytest.raises(SystemExit, match='--limit: expected at least 1, but got 0'):
        run('check_shards', shards, '--limit', 0)


def left_out(folder):
    """File name and reason of each pair that is not in the shards."""
    rows = [json.loads(line) for line in (folder / 'left_out.jsonl').read_text().splitlines()]
    return [(Path(row.get('url', row['key'])).name, row['reason']) for row in rows]


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
    assert left_out(out) == [('2.png', 'broken_image'), ('3.png', 'missing_image')]
    found = [(s['caption'], s['img_bytes']) for s in CaptionShardsDataset(str(out))]
    assert found == [(f'text {j}', image_bytes(1)) for j in range(3)]

    (out / '00001.tar').unlink()  # as if it had been killed
    code, text = run('captions_to_shards', source, out, *options, '--max-bad-fraction', 0.5)
    assert code == 0 and '3 shards: 2 written before, 1 to write' in text
    assert (out / '00001.tar').is_file()
    with pytest.raises(SystemExit, match=r'holds shards of something else \(00001.tar\)'):
        run('captions_to_shards', source, out, '--samples-per-shard', 10)
    with pytest.raises(SystemExit, match='to be a file or a folder'):
        run('captions_to_shards', tmp_path / 'nothing', out)


def test_a_folder_to_shards(run, tmp_path, image_bytes):
    source, out = tmp_path / 'photos', tmp_path / 'shards'
    (source / 'b').mkdir(parents=True)
    for name in ('a.PNG', 'b/2.jpg', 'b/3.jpg', 'd.gif'):
        (source / name).write_bytes(image_bytes(7))
    for name, text in {'a': '\ufeffa café', 'b/3': 'a dog', 'c': 'of no image'}.items():
        (source / f'{name}.txt').write_text(text, encoding='utf-8')
    assert run('captions_to_shards', source, out, '--workers', 1)[0] == 1
    dataset = CaptionShardsDataset(str(out), caption_field='caption')  # of the json member
    found = [(s['caption'], s['img_bytes']) for s in dataset]
    assert found == [('a café', image_bytes(7)), ('a dog', image_bytes(7))]
    expected = [('d.gif', 'unused_member'), ('2.jpg', 'missing_caption'), ('', 'missing_image')]
    assert left_out(out) == expected


def test_coco_object_goes_on_where_the_config_reads(run, tmp_path):
    root = make_miniature('coco_object', tmp_path)
    labels = root / 'annotations' / 'val2017' / '000000000001_instanceTrainIds.png'
    before = labels.read_bytes()
    labels.unlink()
    code, output = run('coco_object', root, '--workers', 1)
    assert code == 0
    assert '1 label maps written, 2 were there' in output
    assert labels.read_bytes() == before
    code, error = run('coco_object', root, '--split', 'train2017')
    assert code == 2 and 'trainval2017.zip' in error and '_train2017.json does not' in error


def test_check_eval_data(run, tmp_path, monkeypatch):
    root, out = make_miniature('voc21', tmp_path), tmp_path / 'out'
    place = 'test_cfg.benchmarks.voc21.dataset.data_root='
    options = ['--out', out, '--cfg-options', 'test_cfg.only=voc21', f'{place}{root}']
    code, output = run('check_eval_data', ALL, *options)
    assert code == 1
    assert 'expected 1449 images, but got 3' in output
    assert 'VOCtrainval_11-May-2012.tar' in output and 'docs/benchmarks.md' in output
    classes = json.loads((out / 'voc21_classes.json').read_text())
    assert classes[0]['class'] == 'background' and len(classes) == 21
    assert sum(row['pixels %'] for row in classes) == pytest.approx(100)
    assert Image.open(out / 'voc21.png').size[0] > 480
    # the same data, were they published with three images
    changed = dict(voc21=replace(BENCHMARKS['voc21'], num_images=(3,)))
    monkeypatch.setattr(data_report, 'BENCHMARKS', changed)
    code, output = run('check_eval_data', ALL, *options)
    assert code == 0
    assert 'voc21: right: 3 images, 3 labels (3 read)' in output
    assert 'wrong' not in output
    # labels without class are not drawn
    for path in root.rglob('SegmentationClass/*.png'):
        Image.fromarray(np.full_like(Image.open(path), 90)).save(path)
    (out / 'voc21.png').unlink()
    code, output = run('check_eval_data', ALL, '--limit', 1, *options)
    assert code == 1
    assert 'values above 20' in output and not (out / 'voc21.png').exists()
    assert '(1 read)' in output

    code, output = run('check_eval_data', ALL, *options[:-1], f'{place}/no')
    assert code == 1
    assert '/no does not exist; data_root of the config says where the data is' in output
    for args, cure in (((tmp_path / 'no.py',), 'a config file'), ((ALL, '--limit', 0), '--limit')):
        code, error = run('check_eval_data', *args)
        assert code == 2 and cure in error
