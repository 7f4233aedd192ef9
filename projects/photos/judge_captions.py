"""Counts a tagger's nouns and noun phrases against 60 captions that were read by hand.

``judged_captions.json`` names the captions (30 of Flickr8k, 30 of COCO, drawn at random), and for
each the words that name a thing one could point at (parts of compounds too) and the phrases that a
reader accepts for one. A noun among them is right, another wrong; one that was not found is missed.

Example:
    python projects/photos/judge_captions.py ../shared/data --taggers textblob nltk
"""

import argparse
import json
import tarfile
from pathlib import Path

from mmengine.registry import init_default_scope

import code_mm  # noqa: F401
from code_mm.datasets.transforms import LoadNouns

JUDGED = Path(__file__).with_name('judged_captions.json')


def read_captions(folder: Path, names: list[str]) -> list[str]:
    """Captions ``flickr8k/SHARD/KEY/NUMBER`` and ``coco_photos/ANNOTATION`` below the folder."""
    annotations = json.loads((folder / 'coco_photos/captions_val2017.json').read_text())
    coco = {str(one['id']): one['caption'] for one in annotations['annotations']}
    captions = []
    for name in names:
        source, *place = name.split('/')
        if source == 'coco_photos':
            captions.append(coco[place[0]])
            continue
        shard, key, number = place
        with tarfile.open(folder / source / shard) as tar:
            member = json.load(tar.extractfile(f'{key}.json'))
        captions.append(member['captions'][int(number)])
    return captions


def count(found: list[list[str]], accepted: list[list[str]]) -> dict:
    """Right, wrong and missed names of all captions."""
    pairs = [(set(names), set(right)) for names, right in zip(found, accepted, strict=True)]
    return dict(
        right=sum(len(names & right) for names, right in pairs),
        wrong=sum(len(names - right) for names, right in pairs),
        missed=sum(len(right - names) for names, right in pairs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path, help='folder with flickr8k/ and coco_photos/')
    parser.add_argument('--taggers', nargs='+', default=['textblob'])
    args = parser.parse_args()
    init_default_scope('mmseg')
    judged = json.loads(JUDGED.read_text())
    captions = read_captions(args.data, [one['caption'] for one in judged])
    print('| tagger | names | `ignored` | right | wrong | missed |\n|---|---|---|---:|---:|---:|')
    for tagger in args.taggers:
        for word_type, field in (('noun', 'things'), ('noun_phrase', 'chunks')):
            for ignored in ((), 'no_things'):
                load = LoadNouns(tagger=tagger, word_type=word_type, ignored=ignored)
                found = [load.transform(dict(caption=caption))['nouns'] for caption in captions]
                accepted = [one[field] for one in judged]
                counts = count(found, accepted)
                if word_type == 'noun_phrase':
                    counts['missed'] = '-'  # several phrases may be right for one thing
                row = [tagger, word_type, ignored or '-', *counts.values()]
                print('| ' + ' | '.join(map(str, row)) + ' |')


if __name__ == '__main__':
    main()
