"""A pair as a list, an indexed shard or a stream holds it, and what the pipeline gets of it."""

import json
from typing import NamedTuple

from code_mm.structures.unusable_sample import UnusableSample

# Characters; what follows the 77 tokens of CLIP's text tower is never seen anyway.
MAX_CAPTION = 100_000


class Sample(NamedTuple):
    """A pair before it is decoded."""

    key: str  # its name in messages: 00012.tar/000120034, captions.csv:17
    source: str  # path or URL of its shard or list
    image: bytes | str  # content of the image's file, or its path
    caption: bytes = b''  # text member of a shard
    fields: bytes | dict | None = None  # json member of a shard, or row of a list


def decode_sample(sample: Sample, caption_field: str | None, nouns_field: str | None) -> dict:
    """What the pipeline gets, the one way from any source; raises UnusableSample.

    Args:
        sample (Sample): Of a list, an indexed shard or a stream.
        caption_field (str, optional): Field that is the caption, in place of the text member.
        nouns_field (str, optional): Field of the caption's nouns.

    Returns:
        dict: ``sample_key``, ``shard`` (path or URL of the shard or list), ``caption``,
        ``img_bytes`` or ``img_path``, and ``nouns`` where the sample has them.
    """
    fields = {}
    if caption_field or (nouns_field and sample.fields):
        fields = sample.fields if isinstance(sample.fields, dict) else parse_fields(sample.fields)
    caption = fields.get(caption_field) if caption_field else decode_caption(sample.caption)
    results = dict(sample_key=sample.key, shard=sample.source, caption=checked_caption(caption))
    nouns = fields.get(nouns_field) if nouns_field else None
    if nouns is not None:
        if not isinstance(nouns, list) or not all(isinstance(noun, str) for noun in nouns):
            raise UnusableSample('bad_fields', f'expected a list of nouns, got {nouns!r}')
        stripped = dict.fromkeys(noun.strip() for noun in nouns)
        results['nouns'] = [noun for noun in stripped if noun]
    results['img_path' if isinstance(sample.image, str) else 'img_bytes'] = sample.image
    return results


def parse_fields(data: bytes) -> dict:
    """The json member of a sample; raises UnusableSample where it is no object."""
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


def checked_caption(caption: object) -> str:
    """The caption without surrounding blanks; raises UnusableSample where it is no text."""
    if not isinstance(caption, str):
        raise UnusableSample('missing_caption', f'expected a string, got {caption!r}')
    if not caption.strip():
        raise UnusableSample('empty_caption')
    if len(caption) > MAX_CAPTION:
        raise UnusableSample('bad_caption', f'{len(caption)} characters')
    if 3 * caption.count('\ufffd') > len(caption):  # a wrong accent here and there is kept
        raise UnusableSample('bad_caption', f'no UTF-8 text: {caption[:20]!r}')
    return caption.strip()
