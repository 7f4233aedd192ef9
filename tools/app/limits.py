"""What one request may cost: the options --max-... of tools/app.py."""

import argparse
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Limits of a request, all above 0."""

    bytes: int = 20_000_000
    pixels: int = 24_000_000
    classes: int = 100
    seconds: float = 60.0
    waiting: int = 32
    sessions: int = 16


ABOUT = dict(
    bytes='of an uploaded file',
    pixels='of all images of a request; a session keeps 9 bytes of each',
    classes='words, synonyms counted one by one',
    seconds='until the answer; waiting in the queue is not counted',
    waiting='requests in the queue',
    sessions='whose images are kept',
)


def add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('limits')
    for limit in fields(Limits):
        kind, told = type(limit.default), f'{ABOUT[limit.name]}; default {limit.default}'
        group.add_argument(f'--max-{limit.name}', type=kind, default=limit.default, help=told)


def read_limits(args: argparse.Namespace) -> Limits:
    values = {limit.name: getattr(args, f'max_{limit.name}') for limit in fields(Limits)}
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f'expected --max-{name} > 0, but got {value}')
    return Limits(**values)
