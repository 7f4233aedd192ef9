"""Shards in which nearly everything is wrong, and what is expected of each sample."""

import io
import os
import struct
import tarfile
import zlib

import numpy as np
from PIL import Image

CAPTION = b'a star on the grass'
SIDE = 40  # pixels of the good images


def encoded(picture, form='JPEG', **kwargs):
    """A PIL image as the bytes of a file."""
    stream = io.BytesIO()
    picture.save(stream, form, **kwargs)
    return stream.getvalue()


def picture(seed=0, side=SIDE):
    """A noisy RGB image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def good_jpeg(seed=0):
    return encoded(picture(seed))


def png_claiming(width, height):
    """A png file whose header claims this size."""
    data = encoded(picture(), 'PNG')
    claim = b'IHDR' + struct.pack('>II', width, height) + data[24:29]
    return data[:12] + claim + struct.pack('>I', zlib.crc32(claim)) + data[33:]


def jpeg_claiming(width, height):
    """A jpeg file whose header claims this size."""
    data = good_jpeg()
    start = data.index(b'\xff\xc0') + 5
    return data[:start] + struct.pack('>HH', height, width) + data[start + 4 :]


def usable_samples(outside):
    """Members by key of samples that look bad and are not; ``outside`` is an absolute path."""
    accents = 'a caf\xe9 near the house of a fish'
    return {
        'large': dict(jpg=encoded(picture(side=2000).convert('L')), txt=CAPTION),
        'long_caption': dict(jpg=good_jpeg(), txt=b'a boat and a fish ' * 2800),
        'signs': dict(jpg=good_jpeg(), txt=b'a boat and a fish ' + b'(' * 50_000),
        'latin_1': dict(jpg=good_jpeg(), txt=accents.encode('latin-1')),
        '../../../../up': dict(jpg=good_jpeg(), txt=CAPTION),
        f'{outside}/absolute': dict(jpg=good_jpeg(), txt=CAPTION),
    }


def bad_samples():
    """Members by key, and why the sample is left out, as (members, reason)."""
    good = good_jpeg()
    return {
        'zero': (dict(jpg=b'', txt=CAPTION), 'broken_image'),
        'cut': (dict(jpg=good[:-300], txt=CAPTION), 'broken_image'),
        'no_caption': (dict(jpg=good), 'missing_caption'),
        'no_image': (dict(txt=CAPTION), 'missing_image'),
        'blank': (dict(jpg=good, txt=b' \n'), 'empty_caption'),
        'dot': (dict(png=encoded(picture(side=1), 'PNG'), txt=CAPTION), 'small_image'),
        'png_bomb': (dict(png=png_claiming(60_000, 60_000), txt=CAPTION), 'large_image'),
        'jpeg_bomb': (dict(jpg=jpeg_claiming(30_000, 30_000), txt=CAPTION), 'large_image'),
        'one_word': (dict(jpg=good, txt=b'a' * 50_000), 'few_nouns'),
        'endless': (dict(jpg=good, txt=b'a dog and a cat ' * 100_000), 'bad_caption'),
        'no_utf8_json': (dict(jpg=good, txt=CAPTION, json=b'{"nouns": "\xff"}'), 'bad_fields'),
    }


def special_members():
    """Members with no content of their own that claim to be images; all with a caption."""
    kinds = dict(symlink=tarfile.SYMTYPE, hardlink=tarfile.LNKTYPE, device=tarfile.CHRTYPE)
    kinds |= dict(pipe=tarfile.FIFOTYPE, folder=tarfile.DIRTYPE)
    members = []
    for key, kind in kinds.items():
        info = tarfile.TarInfo(f'{key}.jpg')
        info.type, info.linkname, info.devmajor, info.devminor = kind, '/etc/passwd', 1, 5
        members += [(info, b''), (f'{key}.txt', CAPTION)]
    return members


def members_of(samples):
    """``[(name, bytes), …]`` of samples by key."""
    return [
        (f'{key}.{extension}', data)
        for key, members in samples.items()
        for extension, data in members.items()
    ]


def write_tar(path, members):
    """Write ``[(name or TarInfo, bytes), …]``, whatever the names are."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tarfile.open(path, 'w', format=tarfile.GNU_FORMAT) as tar:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def header(name, size, kind=tarfile.REGTYPE):
    """A valid header block with any size, also a negative or a huge one."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def pax_header(key, value):
    """Blocks of an extended header, which overrides a field of the next one."""
    rest = f' {key}={value}\n'
    data = f'{len(rest) + 2}{rest}'.encode()
    return header('pax', len(data), tarfile.XHDTYPE) + data.ljust(512, b'\0')


def file_member(name, data):
    """Blocks of an ordinary member."""
    return header(name, len(data)) + data + bytes(-len(data) % 512)


def headers_with_untrue_sizes():
    """What stands between two good members, by name."""
    return {
        'negative': header('b.jpg', -1024),
        'back_to_itself': header('b.jpg', -512),
        'negative_in_pax': pax_header('size', -2048) + header('b.jpg', 5),
        'beyond_every_disk': header('b.jpg', 2**60),
        'beyond_every_disk_in_pax': pax_header('size', 2**70) + header('b.jpg', 5),
        'name_of_a_terabyte': header('b.jpg', 2**40, tarfile.GNUTYPE_LONGNAME),
        'fields_of_a_terabyte': header('b.jpg', 2**40, tarfile.XHDTYPE),
        'fields_of_a_megabyte': header('pax', 2**20, tarfile.XHDTYPE) + b'1' * 2**20,
        'name_of_a_megabyte': header('x', 2**20, tarfile.GNUTYPE_LONGNAME) + b'n' * 2**20,
        'fields_without_length': header('pax', 9, tarfile.XHDTYPE)
        + b'0 size=5\n'.ljust(512, b'\0'),
        'two_thousand_fields': pax_header('comment', 'x') * 2000,
        'two_thousand_names': 2000
        * (header('x', 9, tarfile.GNUTYPE_LONGNAME) + b'long name'.ljust(512, b'\0')),
        'map_of_a_sparse_file': pax_header('GNU.sparse.map', 'x') + file_member('b.jpg', b'x'),
    }


def as_stream(cfg, num_workers, sources, **dataset):
    """Have a config train on a stream of shards; passes are short, as nothing is buffered."""
    cfg.train_dataloader = dict(
        batch_size=4,
        num_workers=num_workers,
        timeout=300 if num_workers else 0,
        sampler=None,
        dataset=dict(
            type='CaptionStreamDataset',
            sources=sources,
            retries=0,
            shuffle_buffer=0,
            pipeline=cfg.train_dataloader.dataset.pipeline,
            **dataset,
        ),
    )
    cfg.default_hooks.stream_position = dict(type='StreamPositionHook', interval=10)
    return cfg
