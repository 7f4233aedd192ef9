"""Fetching a weight file over http(s): once, resumed, and checked before anybody sees it."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import time
from email.utils import formatdate
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from mmengine.logging import print_log
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

_TIMEOUT = 30.0  # seconds without a byte
_LEAST_SPEED = 2**12  # bytes per second, once that time is over
_TRIES = 5
_BLOCK = 2**18  # bytes
_NETWORK = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
_PAGE = 'text/html'


def cache_folder() -> Path:
    """Where downloads land: torch.hub's cache, which ``TORCH_HOME`` moves."""
    return Path(torch.hub.get_dir(), 'checkpoints')


def split_address(address: str) -> tuple[str, str]:
    """URL and checksum of ``URL#sha256=...``; of zoos the name of the file ends with its digits.

    Raises:
        ValueError: What follows ``#`` is no checksum.
    """
    url, _, checksum = address.partition('#')
    if checksum and not re.fullmatch('sha256=[0-9a-f]{64}', checksum):
        raise ValueError(f'expected #sha256= and 64 hexadecimal digits, but got {address!r}')
    of_zoo = re.search(r'-([0-9a-f]{8,64})\.\w+$', urlsplit(url).path)
    return url, checksum.removeprefix('sha256=') or (of_zoo[1] if of_zoo else '')


def cached_path(address: str) -> Path:
    """The file in the cache that an address is fetched to."""
    url, checksum = split_address(address)
    name = unquote(urlsplit(url).path).rpartition('/')[2]
    if name in ('', '..'):
        raise ValueError(f'expected the address of a file, but {address!r} names none')
    # files of one name and different content are told apart by their checksum, or not at all
    digits = '' if checksum else f'{hashlib.sha256(url.encode()).hexdigest()[:8]}_'
    return cache_folder() / f'{digits}{name}'


def fetch(address: str) -> Path:
    """The file of an http(s) address, from the cache or from there.

    Several processes, of one run or not, fetch it once: the first one does, the others wait.

    Args:
        address (str): URL, ``#sha256=`` and the checksum of the file behind it if it is known.

    Raises:
        ConnectionError: It cannot be had; says where to put it. What came is kept for next time.
        ValueError: It is another file than the checksum says, or a web page.
    """
    url, checksum = split_address(address)
    target = cached_path(address)
    if target.is_file():
        require_checksum(target, checksum, 'delete it, and it is downloaded again')
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f'{target}.lock'):
        if not target.is_file():
            part = target.with_name(f'{target.name}.part')  # kept: atomic_write would drop it
            print_log(f'Downloading {url} to {target}', logger='current')
            _download(url, part, target)
            try:
                require_checksum(
                    part, checksum, 'it was deleted; start again, or look at its source'
                )
            except ValueError:
                part.unlink()
                raise
            os.replace(part, target)
    return target


def require_checksum(file: Path, checksum: str, cure: str) -> None:
    """Raise a ValueError where the SHA-256 of a file does not begin with these digits, if any."""
    digest = hashlib.sha256()
    with file.open('rb') as stream:
        while checksum and (block := stream.read(1 << 20)):
            digest.update(block)
    if checksum and not digest.hexdigest().startswith(checksum):
        raise ValueError(
            f'expected a file whose SHA-256 is {checksum}, but {file} has {digest.hexdigest()}: it '
            f'is damaged, or another file of that name; {cure}'
        )


def _download(url: str, part: Path, target: Path) -> None:
    """Go on as long as every try brings something."""
    for _ in range(_TRIES):
        before = _size(part)
        try:
            _receive(url, part)
            return
        except _NETWORK as error:
            reason = error
        if _size(part) <= before:
            break
    raise ConnectionError(
        f'expected to download {url}, but: {reason}. Start again where there is a network '
        f'({_size(part)} bytes are kept), put the file at {target} yourself, or name its path'
    ) from reason


def _receive(url: str, part: Path) -> None:
    """Append to ``part`` what it lacks; begin anew where the server cannot, or has a newer file."""
    start, headers = _size(part), {'User-Agent': 'code_mm'}
    if start:
        since = formatdate(part.stat().st_mtime, usegmt=True)
        headers.update({'Range': f'bytes={start}-', 'If-Unmodified-Since': since})
    try:
        answer = urlopen(Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        if not start or error.code not in (412, 416):
            raise
        part.unlink()
        _receive(url, part)
        return
    with answer, part.open('ab') as file:
        if answer.headers.get_content_type() == _PAGE:
            raise ValueError(f'expected a file of weights, but {url} is a web page that shows one')
        if answer.status != 206:
            start = 0
            file.truncate(0)
        length = answer.headers.get('Content-Length')
        total = start + int(length) if length else None
        begun, received = time.monotonic(), 0
        with _progress() as progress:
            task = progress.add_task(part.stem, completed=start, total=total)
            while block := answer.read1(_BLOCK):
                file.write(block)
                received += len(block)
                progress.update(task, advance=len(block))
                seconds = time.monotonic() - begun
                if seconds > _TIMEOUT + received / _LEAST_SPEED:
                    raise TimeoutError(f'only {received} bytes came in {seconds:.0f} s')
    if total is not None and start + received < total:
        raise HTTPException(f'the connection ended after {start + received} of {total} bytes')


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
