"""Reading of the text members of a shard's sample."""

import json

from code_mm.structures.unusable_sample import UnusableSample


def parse_fields(data: bytes) -> dict:
    """The json member of a sample.

    Raises:
        UnusableSample: no json object.
    """
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise UnusableSample('bad_fields', f'json: {error}') from error
    if not isinstance(fields, dict):
        raise UnusableSample('bad_fields', f'expected a json object, got {type(fields).__name__}')
    return fields


def decode_caption(data: bytes) -> str:
    """The text member of a sample: UTF-8, wrong bytes replaced, a byte order mark dropped."""
    return data.decode('utf-8-sig', 'replace')
