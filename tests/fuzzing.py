"""Seeded fuzzing of everything foreign that this package reads: ``make fuzz``.

A case is a valid file, damaged at random. Whatever comes, reading it must end within seconds and
within bounded memory: well, or with an error that says what was expected and got. Every case runs
in a process of its own batch, so that a crash of the interpreter is seen, too.

Example:
    python tests/fuzzing.py --minutes 5 --seed 1
    python tests/fuzzing.py --only weights --seed 1 --case 1234   # one case again
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from hostile_shards import members_of, write_tar
from mmengine.config import Config
from mmengine.registry import init_default_scope
from safetensors.torch import save

from code_mm.datasets import CaptionListDataset, CaptionShardsDataset, CaptionStreamDataset
from code_mm.datasets.transforms import LoadCaptionImage
from code_mm.engine.config_check import check_options
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.vocabulary.class_name_file import ClassNameFile
from code_mm.weights import read_checkpoint

SECONDS, MEMORY = 10, 1 << 30  # of a case; bytes of address space beyond what the process has
CASES_PER_PROCESS = 50
LOAD = [dict(type='LoadCaptionImage', min_size=1)]


def picture(suffix: str, size: tuple[int, int] = (24, 32)) -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


def weights() -> dict[str, bytes]:
    tensors = {f'w{i}': torch.arange(6.0).view(2, 3) for i in range(3)}
    state = dict(state_dict=tensors, meta={'a': 1})
    new, old, script = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save(state, new)
    torch.save(state, old, _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    return {
        'zip.pth': new.getvalue(),
        'old.pth': old.getvalue(),
        'script.pt': script.getvalue(),
        'a.safetensors': save(tensors),
    }


def shard() -> bytes:
    pair = dict(jpg=picture('.jpg'), txt=b'a dog on grass', json=b'{"key": "x"}')
    with tempfile.TemporaryDirectory() as folder:
        path = write_tar(Path(folder, 'a.tar'), members_of({f'{i:04d}': pair for i in range(4)}))
        return Path(path).read_bytes()


def lists() -> dict[str, bytes]:
    rows = [dict(image=f'{i}.jpg', caption=f'a dog, number "{i}"', nouns=['dog']) for i in range(4)]
    lines = [f'{row["image"]}\t{row["caption"]}' for row in rows]
    quoted = [f'{i}.jpg,"a dog, {i}"' for i in range(4)]
    return {
        'a.json': json.dumps(rows).encode(),
        'a.jsonl': '\n'.join(map(json.dumps, rows)).encode(),
        'a.tsv': '\n'.join(['image\tcaption', *lines]).encode(),
        'a.csv': '\n'.join(['image,caption', *quoted]).encode(),
    }


# Kind -> valid files by name.
SEEDS: dict[str, Callable[[], dict[str, bytes]]] = dict(
    weights=weights,
    shards=lambda: {'a.tar': shard()},
    images=lambda: {f'a{s}': picture(s) for s in ('.jpg', '.png', '.webp', '.bmp', '.tiff')},
    lists=lists,
    class_names=lambda: {'names.txt': b'sky\nperson|human\n# a comment\ncar'},
    options=lambda: {'options': b'model.background_threshold=0.4 model.templates=[a,b]'},
)


def damage(rng: random.Random, data: bytes) -> bytes:
    """A few random changes: bytes flipped, cut, repeated, removed, or put in."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 8, 64, 512)))
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = data[at:end] * rng.choice((1, 2, 100))
        elif kind == 3:
            del data[at:end]
        elif kind == 4:
            data[at:end] = rng.choice((b'\0', b'\xff', b'[', b'(', b'"', b'9')) * (end - at)
        else:
            data[at:at] = rng.choice((b'\xef\xbb\xbf', b'\r\n', b'{[' * 999, b'-1', bytes(512)))
    return bytes(data)


def damage_members(rng: random.Random, data: bytes) -> bytes:
    """A zip archive whose members are damaged, its checksums right: the pickle gets through."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([name for name in members if name.endswith('.pkl')])
    members[name] = damage(rng, members[name])
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def read(kind: str, path: Path) -> None:
    """Read a file as the package does; errors that name what is wrong are well."""
    try:
        if kind == 'weights':
            read_checkpoint(path)
        elif kind == 'images':
            LoadCaptionImage(min_size=1)(dict(img_bytes=path.read_bytes()))
        elif kind == 'class_names':
            ClassNameFile.read(path)
        elif kind == 'lists':
            CaptionListDataset(str(path), pipeline=[])
        elif kind == 'options':
            text = path.read_bytes().decode('latin-1').replace('\0', '')
            options = dict(pair.partition('=')[::2] for pair in text.split(' '))
            check_options(Config(dict(model=dict(templates=['a'], scale=1.0))), options)
        else:
            where = dict(shards=path.name, data_root=str(path.parent))
            keys = dict(pipeline=LOAD, max_bad_fraction=1.0)
            dataset = CaptionShardsDataset(**where, **keys)
            for index in range(len(dataset)):
                dataset[index]
            stream = CaptionStreamDataset(where, repeat=False, retries=0, **keys)
            list(stream)
    except (ValueError, TypeError, FileNotFoundError, RuntimeError, UnusableSample) as error:
        told = any(t in str(error) for t in ('expected', 'usable sample', 'not valid json'))
        if isinstance(error, RecursionError) or not (told or isinstance(error, UnusableSample)):
            raise


def one_case(kind: str, seed: int, case: int, folder: Path) -> None:
    init_default_scope('mmseg')
    rng = random.Random(f'{kind} {seed} {case}')
    name, data = rng.choice(sorted(_SEEDS[kind].items()))
    inside = zipfile.is_zipfile(io.BytesIO(data)) and rng.random() < 0.7
    path = folder / name
    path.write_bytes((damage_members if inside else damage)(rng, data))
    read(kind, path)


_SEEDS = {kind: make() for kind, make in SEEDS.items()}


def _out_of_time(*_) -> None:
    raise TimeoutError(f'more than {SECONDS} s')


def _run_cases(kind: str, seed: int, cases: range, folder: str, pipe) -> None:
    """In a child process: each case between two messages, so that the parent knows a killer."""
    sys.stdout = sys.stderr = open(os.devnull, 'w')  # noqa: SIM115 (until the process ends)
    os.dup2(sys.stderr.fileno(), 2)
    signal.signal(signal.SIGPROF, _out_of_time)
    own = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY, resource.RLIM_INFINITY))
    for case in cases:
        where = Path(folder, str(case))
        where.mkdir()
        pipe.send((case, None))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of processor time: others work here, too
        try:
            one_case(kind, seed, case, where)
        except BaseException:
            pipe.send((case, traceback.format_exc(limit=-4)))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    pipe.send((None, None))


def fuzz(kind: str, seed: int, cases: range) -> dict[int, str]:
    """Cases of a kind that went wrong, with what happened; other cases for each seed."""
    wrong = {}
    with tempfile.TemporaryDirectory() as folder:
        start = cases.start
        while start < cases.stop:
            batch = range(start, min(cases.stop, start + CASES_PER_PROCESS))
            ours, its = multiprocessing.Pipe(duplex=False)
            args = (kind, seed, batch, tempfile.mkdtemp(dir=folder), its)
            child = multiprocessing.get_context('fork').Process(target=_run_cases, args=args)
            child.start()
            its.close()
            last, problem = start, f'hangs, beyond {3 * SECONDS} s'
            while problem and ours.poll(3 * SECONDS):
                try:
                    case, text = ours.recv()
                except EOFError:
                    child.join()
                    problem = f'ended the process with status {child.exitcode}'
                    break
                if case is None:
                    problem = None
                elif text is None:
                    last = case
                else:
                    wrong[case] = text
            child.kill()
            child.join()
            if problem:
                wrong[last] = problem
            start = last + 1
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=5)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', choices=sorted(SEEDS), help='this kind of file')
    parser.add_argument('--case', type=int, help='of --only: this case alone, with its traceback')
    options = parser.parse_args()
    if options.case is not None:
        with tempfile.TemporaryDirectory() as folder:
            one_case(options.only, options.seed, options.case, Path(folder))
        return
    kinds = [options.only] if options.only else sorted(SEEDS)
    end, done, wrong = time.monotonic() + 60 * options.minutes, 0, 0
    while time.monotonic() < end:
        for kind in kinds:
            found = fuzz(kind, options.seed, range(done, done + CASES_PER_PROCESS))
            wrong += len(found)
            for case, text in found.items():
                print(f'--only {kind} --seed {options.seed} --case {case}\n{text}', flush=True)
        done += CASES_PER_PROCESS
    print(f'{done} cases of each of {", ".join(kinds)}: {wrong} went wrong')
    sys.exit(wrong > 0)


if __name__ == '__main__':
    main()
