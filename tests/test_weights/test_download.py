"""Fetching from a server of our own that cuts, resumes, refuses, redirects and dawdles."""

import hashlib
import http.server
import os
import threading

import pytest
import torch
from filelock import FileLock

from code_mm.weights import download
from code_mm.weights.download import cached_path, fetch, split_address

CONTENT = bytes(range(256)) * 8
HALF = len(CONTENT) // 2
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    """``server.url`` and ``server.asked``, the ranges of all requests; by the folder of a path:

    whole (ranges are obeyed), plain (they are not), newer (they are refused, as the file changed),
    cut (half of what is asked for), empty (nothing of it), moved, gone, page, stalled, trickle.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.headers.get('Range'))
            kind, start = self.path.split('/')[1], 0
            if kind in ('gone', 'moved') or (kind == 'newer' and server.asked[-1]):
                self.send_response({'gone': 404, 'moved': 302, 'newer': 412}[kind])
                self.send_header('Location', self.path.replace('moved', 'whole'))
                self.end_headers()
                return
            if server.asked[-1] and kind != 'plain':
                start = int(server.asked[-1].removeprefix('bytes=').removesuffix('-'))
            self.send_response(206 if start else 200)
            self.send_header('Content-Length', str(len(CONTENT) - start))
            self.send_header('Content-Type', 'text/html' if kind == 'page' else 'x/y')
            self.end_headers()
            if kind == 'trickle':
                while not server.over.wait(0.01):
                    self.wfile.write(b'x')
            if kind == 'stalled':
                server.over.wait()
            share = dict(cut=0.5, empty=0).get(kind, 1)
            self.wfile.write(CONTENT[start : start + int(share * (len(CONTENT) - start))])

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.asked, server.over = [], threading.Event()
        server.url = f'http://127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


def begin(address, content):
    part = cached_path(address).with_name(f'{cached_path(address).name}.part')
    part.parent.mkdir(parents=True)
    part.write_bytes(content)


@pytest.mark.parametrize(
    ('path', 'begun', 'asked'),
    [
        ('whole/a.pt', b'', [None]),
        ('whole/a.pt', CONTENT[:100], ['bytes=100-']),
        ('moved/a.pt', CONTENT[:100], ['bytes=100-', 'bytes=100-']),
        ('plain/a.pt', b'other', ['bytes=5-']),
        ('newer/a.pt', b'other', ['bytes=5-', None]),
        (
            'cut/a.pt',
            b'',
            [None, *(f'bytes={len(CONTENT) - len(CONTENT) // 2**i}-' for i in (1, 2))],
        ),
    ],
)
def test_a_file_is_complete_however_it_comes(server, hub, monkeypatch, path, begun, asked):
    address = f'{server.url}/{path}#sha256={SHA}'
    monkeypatch.setattr(download, '_TRIES', 3)
    if begun:
        begin(address, begun)
    if path.startswith('cut'):  # 7/8 come; the rest another time
        with pytest.raises(
            ConnectionError, match=r'ended after 1792 of 2048 .*\(1792 bytes are kept'
        ):
            fetch(address)
        address = address.replace('cut', 'whole')
        asked = [*asked, 'bytes=1792-']
    found = fetch(address)
    assert found == hub / 'a.pt' and found.read_bytes() == CONTENT
    assert fetch(address) == found and server.asked == asked
    assert {file.name for file in hub.iterdir()} <= {'a.pt', 'a.pt.lock'}


@pytest.mark.parametrize(
    ('path', 'error', 'message'),
    [
        (
            'gone/a.pt',
            ConnectionError,
            r'404.*put the file at .*/hub/checkpoints/\w+_a.pt yourself',
        ),
        ('empty/a.pt', ConnectionError, 'ended after 0 of 2048 bytes'),
        ('stalled/a.pt', ConnectionError, 'timed out'),
        ('trickle/a.pt', ConnectionError, r'only \d+ bytes came in'),
        ('page/a.pt', ValueError, 'a web page that shows one'),
        (f'whole/a.pt#sha256={"0" * 64}', ValueError, f'has {SHA}: .* it was deleted'),
        ('whole/a-00000000.pt', ValueError, 'whose SHA-256 is 00000000, but'),
        ('whole/', ValueError, 'names none'),
        ('whole/a.pt#md5=0', ValueError, 'expected #sha256= and 64'),
    ],
)
def test_what_cannot_be_had_is_told_and_leaves_no_file(
    server, hub, monkeypatch, path, error, message
):
    monkeypatch.setattr(download, '_TIMEOUT', 0.3)
    monkeypatch.setattr(download, '_LEAST_SPEED', 2**20)
    monkeypatch.setattr(download, '_TRIES', 2)
    with pytest.raises(error, match=message):
        fetch(f'{server.url}/{path}')
    assert not list(hub.glob('*.pt'))
    if error is ValueError:
        assert not [part for part in hub.glob('*.part') if part.stat().st_size]


def test_without_a_network_the_message_says_where_to_put_the_file(hub):
    with pytest.raises(ConnectionError, match=f'put the file at {hub}/a.pt yourself, or name'):
        fetch(f'http://127.0.0.1:9/a.pt#sha256={SHA}')
    (hub / 'a.pt').write_bytes(CONTENT)
    assert fetch(f'http://127.0.0.1:9/a.pt#sha256={SHA}') == hub / 'a.pt'
    (hub / 'a.pt').write_bytes(CONTENT[1:])
    with pytest.raises(ValueError, match='another file of that name; delete it'):
        fetch(f'http://127.0.0.1:9/a.pt#sha256={SHA}')


def test_names_in_the_cache():
    """One name, two places: told apart by checksum, or by the address."""
    one, other = (cached_path(f'https://{host}/x/a.pt?y=1').name for host in 'ab')
    assert one != other and one.endswith('_a.pt')
    assert cached_path(f'https://a/a%2Fb.pt#sha256={SHA}').name == 'b.pt'
    assert split_address('https://a/r50-0123abcd.pth?x')[1] == '0123abcd'
    assert cached_path('https://a/r50-0123abcd.pth').name == 'r50-0123abcd.pth'  # as torch.hub's


def fetch_as_rank(folder, address):
    torch.hub.set_dir(folder)
    return fetch(address).read_bytes()


def test_processes_of_one_run_fetch_once(server, hub, run_in_two_processes):
    address = f'{server.url}/whole/a.pt#sha256={SHA}'
    found = run_in_two_processes(fetch_as_rank, os.path.dirname(hub), address)
    assert found == [CONTENT] * 2 and server.asked == [None]


def test_separate_runs_wait_for_each_other(server, hub):
    address, found = f'{server.url}/whole/a.pt#sha256={SHA}', []
    hub.mkdir(parents=True)
    with FileLock(f'{hub}/a.pt.lock'):
        waiting = threading.Thread(target=lambda: found.append(fetch(address)))
        waiting.start()
        (hub / 'a.pt').write_bytes(CONTENT)  # as the one that holds the lock
    waiting.join(30)
    assert found == [hub / 'a.pt'] and not server.asked
