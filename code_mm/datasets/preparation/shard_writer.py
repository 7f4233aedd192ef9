"""Writes image-caption pairs as img2dataset does: a tar shard with its stats beside it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from webdataset import TarWriter

from code_mm.atomic_write import atomic_write, write_text


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
    """A pair that cannot be written; the stats keep it with the reason."""

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
    """Write ``00003.tar`` and then ``00003_stats.json``.

    Each file appears complete or not at all, so a shard with stats is complete. The tar
    file depends on the samples alone, not on the time or the user.

    Args:
        root (Path): Existing folder.
        number (int): Of the shard, the first five digits of its keys.
        samples (Iterable): In the order of their keys; failed ones use up a key, too.
        digits (int): For the position in the shard.
        made_from (str): Kept in the stats, tells what the samples were made from.

    Returns:
        dict: The stats: ``count``, ``successes``, ``status_dict`` (reasons and their number),
        ``left_out`` (key, url, caption, reason and detail of each), ``made_from``.
    """
    name, left_out, successes = root / f'{number:05d}', [], 0
    with (
        atomic_write(f'{name}.tar') as temporary,
        open(temporary, 'wb') as stream,
        TarWriter(stream, encoder=False, mtime=0) as tar,
    ):
        for position, sample in enumerate(samples):
            key = f'{number:05d}{position:0{digits}d}'
            if isinstance(sample, FailedSample):
                left_out.append(dict(key=key, **sample._asdict()))
                continue
            successes += 1
            record = dict(
                sample.fields,  # whose names give way
                caption=sample.caption,
                url=sample.url,
                key=key,
                status='success',
                width=sample.width,
                height=sample.height,
                sha256=hashlib.sha256(sample.image).hexdigest(),
            )
            members = {
                sample.extension: sample.image,
                'json': json.dumps(record, indent=4).encode(),
            }
            tar.write({'__key__': key, **members, 'txt': sample.caption.encode()})
    stats = dict(
        count=successes + len(left_out),
        successes=successes,
        status_dict=Counter([row['reason'] for row in left_out]) + Counter(success=successes),
        left_out=left_out,
        made_from=made_from,
    )
    write_text(f'{name}_stats.json', json.dumps(stats, indent=4))
    return stats
