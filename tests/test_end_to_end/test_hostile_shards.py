"""Training over hostile shards: it goes on, counts and names what is bad, and unpacks nothing."""

import gzip
import math
import os
import tarfile
from collections import Counter

import pytest
from hostile_shards import (
    as_stream,
    bad_samples,
    file_member,
    good_jpeg,
    header,
    headers_with_untrue_sizes,
    members_of,
    special_members,
    usable_samples,
    write_tar,
)
from mmseg.registry import DATASETS

CAPTION = b'a boat and a fish'
MISSING, NO_TAR, BOMB = '00006.tar', '00004.tar', '00005.tar'
EXPECTED = {f'00001.tar/{key}': reason for key, (_, reason) in bad_samples().items()}
EXPECTED |= {f'00001.tar/{info.name[:-4]}': 'missing_image' for info, _ in special_members()[::2]}
EXPECTED |= {MISSING: 'missing_shard', NO_TAR: 'unreadable_shard', BOMB: 'unreadable_shard'}


def pair(key, seed=0):
    return [(f'{key}.jpg', good_jpeg(seed)), (f'{key}.txt', CAPTION)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Shards deep in a folder, so that ``../../../../up`` would land inside ``tmp_path``."""
    folder = tmp_path / 'a' / 'b' / 'c' / 'shards'
    bad = {key: members for key, (members, _) in bad_samples().items()}
    write_tar(folder / '00000.tar', members_of(usable_samples(tmp_path / 'outside')))
    write_tar(folder / '00001.tar', [*members_of(bad), *special_members()])
    good = [member for number in range(8) for member in pair(f'good{number}', number)]
    write_tar(folder / '00002.tar', good)
    cut = write_tar(folder / '00003.tar', [*pair('first', 20), *pair('second', 21)])
    os.truncate(cut, 512 + len(good_jpeg(20)) + 1024 + 1024)  # within the second image
    (folder / NO_TAR).write_bytes(b'')
    (folder / BOMB).write_bytes(
        gzip.compress((folder / '00002.tar').read_bytes()[:2048] + bytes(2**28))
    )
    run = tmp_path / 'a' / 'b' / 'c' / 'cwd'
    run.mkdir()
    monkeypatch.chdir(run)
    return folder


def files_below(folder, but_not):
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob('*')
        if but_not not in (path, *path.parents)
    }


def config_of(world, folder, stream, num_workers=0, **dataset):
    """A config on these shards, as a stream or not."""
    cfg = world.config(iters=16, train_dataloader__num_workers=num_workers)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    shards = dict(data_root=str(folder), shards='{00000..00006}.tar')
    if stream:
        return as_stream(cfg, num_workers, shards, **dataset)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=False)  # a pass in the run
    cfg.train_dataloader.dataset.update(**shards, **dataset)
    return cfg


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('stream', [False, True])
def test_training_goes_on_and_everything_bad_is_named(world, place, tmp_path, stream, num_workers):
    work_dir = tmp_path / 'work_dir'
    before = files_below(tmp_path, work_dir)
    cfg = config_of(world, place, stream, num_workers, max_bad_fraction=1.0, max_warnings=1000)
    runner, recorder = world.runner(cfg, work_dir)
    runner.train()
    assert files_below(tmp_path, work_dir) == before
    assert len(recorder.losses) == 16
    assert all(math.isfinite(values['loss']) for values in recorder.losses.values())

    usable = {f'00000.tar/{key}' for key in usable_samples(tmp_path / 'outside')}
    usable |= {f'00002.tar/good{number}' for number in range(8)} | {'00003.tar/first'}
    # of the compressed shard, a stream finds what comes before the trap
    assert recorder.keys - {f'{BOMB}/good0'} == usable

    (file,) = work_dir.glob('2*/*.log')
    lines = file.read_text().splitlines()
    for key, reason in EXPECTED.items():
        assert any(key in line and reason in line for line in lines), key
    skipped = runner.train_dataloader.dataset.skipped
    expected = Counter(EXPECTED.values()) + Counter(truncated_shard=1)
    assert skipped == expected or (stream and Counter(skipped) >= expected)  # two passes and a bit
    assert skipped.keys() == expected.keys()


def samples_of(world, folder, stream, content):
    """Keys and counts of a shard with these bytes between two good pairs."""
    before, after = (
        b''.join(file_member(*member) for member in pair(key)) for key in ('before', 'after')
    )
    (folder / '00000.tar').write_bytes(before + content + after + bytes(1024))
    cfg = config_of(world, folder, stream).train_dataloader.dataset
    cfg.update(pipeline=[], **(dict(repeat=False) if stream else {}))
    dataset = DATASETS.build(cfg)
    samples = dataset if stream else [dataset[i] for i in range(len(dataset))]
    return {sample['sample_key'] for sample in samples}, dataset.skipped


@pytest.mark.parametrize('stream', [False, True])
def test_headers_that_lie_cost_only_themselves(tmp_path, stream, world):
    good = {'00000.tar/before', '00000.tar/after'}
    for name, content in headers_with_untrue_sizes().items():
        keys, skipped = samples_of(world, tmp_path, stream, content)
        assert (keys, skipped['corrupt_header']) == (good, 1), name
    # the size of a sparse member is not that of what follows: reading on would lose samples
    sparse = header('b.jpg', 512, tarfile.GNUTYPE_SPARSE) + b'x' * 512
    keys, skipped = samples_of(world, tmp_path, stream, sparse + file_member('b.txt', CAPTION))
    assert (keys, skipped['missing_image']) == (good, 1)
