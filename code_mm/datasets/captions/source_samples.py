"""The undecoded samples of one source for one loader worker, pass after pass."""

from collections.abc import Iterator
from typing import NamedTuple

from code_mm.datasets.shards.shard_schedule import Position, Reader, parts_of_pass

from .caption_source import CaptionSource
from .stream_ledger import StreamLedger
from .stream_progress import StreamProgress
from .worker_status import WorkerStatus


class Reading(NamedTuple):
    """How shards are read, and who is told.

    Attributes:
        ledger: counts what is wrong.
        status: shows what the worker does.
        progress: knows how far it is.
        timeout: seconds without a byte from a pipe or download; None: no limit.
        retries: further tries to read a shard that failed.
    """

    ledger: StreamLedger
    status: WorkerStatus
    progress: StreamProgress
    timeout: float | None = None
    retries: int = 0


def source_samples(
    source: CaptionSource,
    index: int,
    begin: Position,
    reader: Reader,
    *,
    seed: str | None,
    repeat: bool,
    reading: Reading,
) -> Iterator[dict]:
    """Yield this reader's share of a source.

    With ``repeat``, a reader that got nothing in a pass, as there are fewer samples than
    readers, takes the next pass for itself.

    Args:
        source: with shards.
        index: its number in the stream.
        begin: where to begin.
        reader: one of the workers of all processes.
        seed: of the order of the shards; None: as listed.
        repeat: whether to begin again after a pass.
        reading: how.

    Raises:
        RuntimeError: a whole pass held no image with a caption.
    """
    position, whole_pass = begin, False
    while True:
        order = None if seed is None else f'{seed} {position.passes}'
        parts = parts_of_pass(len(source.shards), reader, order, whole_pass)
        first, found = position.opened, False
        for part in parts[first:]:
            position = Position(position.passes, position.opened + 1)
            reading.progress.move(index, position)
            for sample in source.read(
                part, reading.ledger, reading.status, reading.timeout, reading.retries
            ):
                found = True
                yield sample
                reading.progress.move(index, position)  # another iterator may have moved
        position = Position(position.passes + 1, 0)
        reading.progress.move(index, position)
        if not repeat:
            return
        if whole_pass and not found:
            raise RuntimeError(_nothing_in(source, reading))
        whole_pass = not found and first == 0


def _nothing_in(source: CaptionSource, reading: Reading) -> str:
    return (
        f'{reading.ledger.name}: found no image with a caption in a whole pass over '
        f'{len(source.shards)} shards of {source.name}; left out so far: '
        f'{reading.ledger.counts()}. Check shards, image_extensions and caption_extension'
    )
