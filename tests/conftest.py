"""Fixtures of all tests: processes, the default scope, small shards and images."""

import functools
import http.server
import json
import os
import sys
import tarfile
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

# Test files are not importable by name (importmode=importlib), but the processes that
# `run_in_two_processes` starts must find its own module.
sys.path.insert(0, str(Path(__file__).parent))
# what stands beside the tools is imported from there
sys.path.append(str(Path(__file__).parents[1] / 'tools' / 'dataset_converters'))

import hostile_shards
import two_processes
from torch_release import IS_OLD


def pytest_collection_modifyitems(items):
    """On a CPU older releases of torch know little of float16: no autocast, no matrix product."""
    if not IS_OLD:
        return
    for item in items:
        values = item.callspec.params.values() if hasattr(item, 'callspec') else ()
        if any(value is torch.float16 for value in values):
            item.add_marker(pytest.mark.skip('float16 on a CPU needs a newer torch'))


@pytest.fixture(scope='session')
def run_in_two_processes():
    """``run_in_two_processes(fn, *args)`` -> results of rank 0 and rank 1, see two_processes.py."""
    return two_processes.run_in_two_processes


@pytest.fixture(scope='session', autouse=True)
def quick_runners():
    """What takes seconds of every Runner: its report of the machine, the layout of its config."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.runner.runner.collect_env', dict)
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(scope='session', autouse=True)
def mmseg_scope_from_the_start():
    """The default scope of our configs for the fixtures of whole files, too."""
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def mmseg_scope():
    """The default scope of our configs, whatever scope an earlier test's Runner left behind."""
    init_default_scope('mmseg')
    yield
    init_default_scope('mmseg')  # for the wider fixtures of the next test


# --- small shards and images, made on the spot


def encode_image(seed=0, height=40, width=56, suffix='.jpg'):
    """A smooth picture, different for each seed, as the bytes of an image file."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    rng = np.random.default_rng(seed)
    waves = [np.sin(rows * a + columns * b + c) for a, b, c in rng.uniform(0, 0.2, (3, 3))]
    image = ((np.stack(waves, -1) + 1) * 127).astype(np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.fixture(scope='session')
def image_bytes():
    return encode_image


@pytest.fixture
def write_tar(tmp_path):
    """Writes a tar file of ``[(name, bytes), …]`` or ``{name: bytes}``; returns its path."""

    def write(name, members):
        members = members.items() if isinstance(members, dict) else members
        return hostile_shards.write_tar(tmp_path / name, members)

    return write


@pytest.fixture
def write_pairs(write_tar):
    """Writes a shard of good pairs as img2dataset does; returns its path."""

    def write(name, captions, first=0):
        members = []
        for number, caption in enumerate(captions, start=first):
            key = f'{number:07d}'
            fields = json.dumps(dict(key=key, caption=caption.upper(), width=56))
            members += [
                (f'{key}.jpg', encode_image(number)),
                (f'{key}.json', fields.encode()),
                (f'{key}.txt', caption.encode()),
            ]
        return write_tar(name, members)

    return write


@pytest.fixture
def web_server(tmp_path):
    """URL of a web server of tmp_path; /cut/NAME closes the connection after half of the file."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith('/cut/'):
                return super().do_GET()
            data = (tmp_path / self.path[5:]).read_bytes()
            self.send_response(200)
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])

        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.fixture(scope='session')
def photo_folder():
    """Folder of real photo shards; tests that ask for it are skipped where there is none."""
    beside = Path(__file__).parents[2] / 'shared' / 'data' / 'photo_shards'
    folder = Path(os.environ.get('CODE_MM_PHOTO_SHARDS', beside)).resolve()
    if not list(folder.glob('*.tar')):
        pytest.skip(f'no shards in {folder}; name their folder in CODE_MM_PHOTO_SHARDS')
    return folder


@pytest.fixture(scope='session')
def photo_captions(photo_folder):
    """All captions of the photo shards by sample key, read without our code."""
    found = {}
    for path in sorted(photo_folder.glob('*.tar')):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith('.txt'):
                    text = tar.extractfile(member).read().decode()
                    found[f'{path.name}/{member.name[:-4]}'] = text
    return found
