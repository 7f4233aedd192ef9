"""Writes image-caption pairs as img2dataset does: tar shard, parquet and stats beside it."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from webdataset import TarWriter

from code_mm.atomic_write import atomic_write

_COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ('caption', 'url', 'key', 'status', 'error_message')),
        *((name, pa.int32()) for name in ('width', 'height', 'original_width', 'original_height')),
        *((name, pa.string()) for name in ('exif', 'sha256')),
    ]
)


class ShardSample(NamedTuple):
    """A pair to be written; ``fields`` are what its json keeps beyond img2dataset's."""

    image: bytes  # encoded, written unchanged
    extension: str  # 'jpg', 'png' or 'webp'
    caption: str
    url: str  # where the image came from
    width: int  # pixels
    height: int
    fields: dict = {}


class FailedSample(NamedTuple):
    """A pair that cannot be written; the parquet file keeps it with the reason."""

    caption: str
    url: str
    reason: str  # of UNUSABLE_REASONS
    detail: str = ''


def write_shard(
    root: Path,
    number: int,
    samples: Iterable[ShardSample | FailedSample],
    digits: int = 4,
    made_from: str = '',
) -> dict:
    """Write ``00003.tar``, ``00003.parquet`` and last ``00003_stats.json``.

    Each file appears complete or not at all, so a shard with stats is complete. The tar
    file depends on the samples alone, not on the time or the user.

    Args:
        root (Path): Existing folder.
        number (int): Of the shard, the first five digits of its keys.
        samples (Iterable): In the order of their keys; failed ones use up a key, too.
        digits (int): For the position in the shard.
        made_from (str): Kept in the stats, tells what the samples were made from.

    Returns:
        dict: The stats: ``count``, ``successes``, ``status_dict`` (reasons and their number), …
    """
    start, name, rows = time.time(), root / f'{number:05d}', []
    with (
        atomic_write(f'{name}.tar') as temporary,
        open(temporary, 'wb') as stream,
        TarWriter(stream, encoder=False, mtime=0) as tar,
    ):
        for position, sample in enumerate(samples):
            rows.append(record := _record(sample, f'{number:05d}{position:0{digits}d}'))
            if isinstance(sample, ShardSample):
                # The record comes first and wins over fields of the same name.
                fields = json.dumps(record | sample.fields | record, indent=4)
                members = {sample.extension: sample.image, 'json': fields.encode()}
                tar.write({'__key__': record['key'], **members, 'txt': sample.caption.encode()})
    with atomic_write(f'{name}.parquet') as temporary:
        pq.write_table(pa.Table.from_pylist(rows, _COLUMNS), temporary)
    stats = _stats(rows, start) | dict(made_from=made_from)
    with atomic_write(f'{name}_stats.json') as temporary:
        Path(temporary).write_text(json.dumps(stats, indent=4))
    return stats


def _stats(rows: list[dict], start: float) -> dict:
    statuses = Counter((row['error_message'] or 'success').split(' ')[0] for row in rows)
    successes, missing = statuses['success'], statuses['missing_image']
    end = time.time()
    return {
        'count': len(rows),
        'successes': successes,
        'failed_to_download': missing,
        'failed_to_resize': len(rows) - successes - missing,
        'duration': end - start,
        'start_time': start,
        'end_time': end,
        'status_dict': {key: value for key, value in statuses.items() if value},
    }


def finished_stats(root: Path, number: int, made_from: str) -> dict | None:
    """Stats of a shard that was written completely from the same samples, else None."""
    name = root / f'{number:05d}'
    try:
        stats = json.loads(Path(f'{name}_stats.json').read_text())
    except (OSError, ValueError):
        return None
    complete = Path(f'{name}.tar').is_file() and Path(f'{name}.parquet').is_file()
    return stats if complete and stats.get('made_from') == made_from else None


def _record(sample: ShardSample | FailedSample, key: str) -> dict:
    """A row of the parquet file, with img2dataset's names."""
    record = dict.fromkeys(_COLUMNS.names) | dict(caption=sample.caption, url=sample.url, key=key)
    if isinstance(sample, FailedSample):
        failed = 'download' if sample.reason == 'missing_image' else 'resize'
        message = f'{sample.reason} ({sample.detail})' if sample.detail else sample.reason
        return record | dict(status=f'failed_to_{failed}', error_message=message)
    return record | dict(
        status='success',
        width=sample.width,
        height=sample.height,
        original_width=sample.width,
        original_height=sample.height,
        exif='{}',
        sha256=hashlib.sha256(sample.image).hexdigest(),
    )
