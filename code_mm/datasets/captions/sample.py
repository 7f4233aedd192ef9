"""What the pipeline gets of a pair in a list, an indexed shard or a stream."""

import json

import numpy as np

from code_mm.structures.unusable_sample import UnusableSample
from code_mm.text_file import text_encoding

# Characters; what follows the 77 tokens of CLIP's text tower is never seen anyway.
MAX_CAPTION = 100_000


def decode_sample(
    key: str,
    source: str,
    image: bytes | str,
    caption: bytes,
    fields: bytes | dict | None,
    caption_field: str | None,
    nouns_field: str | None,
) -> dict:
    """What the pipeline gets of a pair, the one way from any source; raises UnusableSample.

    Args:
        key (str): Its name in messages: 00012.tar/000120034, captions.csv:17; ``sample_key``.
        source (str): Path or URL of its shard or list; ``shard``.
        image (bytes | str): Content of the image's file, or its path; ``img_bytes``, ``img_path``.
        caption (bytes): Text member of a shard; ``caption``, a list where there are several.
        fields (bytes | dict, optional): Json member of a shard, or row of a list.
        caption_field (str, optional): Field that is the caption, in place of the text member.
        nouns_field (str, optional): Field that is ``nouns``; the default, 'nouns', where there is
            one, any other in every sample.
    """
    found = {}
    if caption_field or (nouns_field and fields):
        found = fields if isinstance(fields, dict) else parse_fields(fields)
    text = found.get(caption_field) if caption_field else decode_caption(caption)
    captions = _checked_captions(text, is_text=not caption_field)
    results = dict(sample_key=key, shard=source, caption=captions)
    nouns = found.get(nouns_field) if nouns_field else None
    if nouns is None and nouns_field not in (None, 'nouns'):  # misspelt, or forgotten
        raise UnusableSample('bad_fields', f'no nouns_field {nouns_field!r} in {list(found)}')
    if nouns is not None:
        if not isinstance(nouns, list) or not all(isinstance(noun, str) for noun in nouns):
            raise UnusableSample('bad_fields', f'expected a list of nouns, got {nouns!r}')
        stripped = dict.fromkeys(valid_text(noun).strip() for noun in nouns)
        results['nouns'] = [noun for noun in stripped if noun]
    results['img_path' if isinstance(image, str) else 'img_bytes'] = image
    return results


def parse_fields(data: bytes) -> dict:
    """The json member of a sample; raises UnusableSample where it is no object."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnusableSample('bad_fields', f'json: {error}') from error
    if not isinstance(fields, dict):
        raise UnusableSample('bad_fields', f'expected a json object, got {type(fields).__name__}')
    return fields


def valid_text(text: str) -> str:
    """Without the lone surrogates that json can hold and no file can."""
    return text.encode('utf-8', 'replace').decode()


def decode_caption(data: bytes) -> str:
    """The text member of a sample; wrong bytes are replaced."""
    return data.decode(text_encoding(data), 'replace')


def draw_caption(sample: dict) -> dict:
    """The sample with one caption, of several drawn with ``np.random`` at each visit."""
    caption = sample.get('caption')
    if not isinstance(caption, list):
        return sample
    return {**sample, 'caption': caption[np.random.randint(len(caption))]}


def _checked_captions(found: object, is_text: bool) -> str | list[str]:
    """The caption, or several: those of a list, or the lines of a text; blank ones do not count."""
    if is_text:
        found = checked_caption(found).splitlines()
    if not isinstance(found, list):
        return checked_caption(found)
    found = [text for text in found if not isinstance(text, str) or text.strip()]
    captions = list(map(checked_caption, found or ['']))
    return captions if len(captions) > 1 else captions[0]


def checked_caption(caption: object) -> str:
    """The caption without surrounding blanks; raises UnusableSample where it is no text."""
    if not isinstance(caption, str):
        raise UnusableSample('missing_caption', f'expected a string, got {caption!r:.80}')
    caption = valid_text(caption)
    if not caption.strip():
        raise UnusableSample('empty_caption')
    if len(caption) > MAX_CAPTION:
        raise UnusableSample('bad_caption', f'{len(caption)} characters')
    if 3 * caption.count('\ufffd') > len(caption):  # a wrong accent here and there is kept
        raise UnusableSample('bad_caption', f'no UTF-8 text: {caption[:20]!r}')
    return caption.strip()
