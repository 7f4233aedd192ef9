"""The nouns of the caption: the sample's own, those of a cache, or tagged now."""

from collections.abc import Sequence

from mmcv.transforms import BaseTransform

from code_mm.nouns.noun_cache import NounCache
from code_mm.nouns.noun_selector import NounSelector, no_things
from code_mm.nouns.taggers import settled_tagger
from code_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadNouns(BaseTransform):
    """Find the nouns of the caption (thesis §3.1).

    Nouns that the sample brings along are kept; then the cache is asked; the rest is tagged.

    Required Keys:

    - caption (str)
    - nouns (list[str], optional)
    - shard (str), sample_key (str): where the sample is from; with a cache

    Added Keys:

    - nouns (list[str]): all nouns, in the order of the caption

    Args:
        cache (str, optional): Nouns that ``tools/dataset_converters/extract_nouns.py`` tagged
            once: 'beside' the shards or the list, or their folder. Default: tag on every visit.
        tagger (str | dict): 'auto' (NLTK where its data are on the machine, else TextBlob; takes
            a cache of any), 'nltk', 'textblob', or one of your own, see
            :mod:`code_mm.nouns.taggers`.
        word_type (str): 'noun' (single words) or 'noun_phrase'.
        ignored (str | Sequence[str]): Words that are no nouns, in any case: one's own, or
            'no_things', a list of such as "front" and "group" (docs/captions.md). Nouns that the
            sample brings along or the cache has are held against it, too.
    """

    def __init__(
        self,
        cache: str | None = None,
        tagger: str | dict = 'auto',
        word_type: str = 'noun',
        ignored: str | Sequence[str] = (),
    ) -> None:
        self._ignored = frozenset(
            map(str.lower, no_things() if ignored == 'no_things' else ignored)
        )
        self._nouns_of = NounSelector(tagger, word_type)
        self.cache = None
        if cache is not None:
            folder = None if cache == 'beside' else cache
            wanted = None if tagger == 'auto' else settled_tagger(tagger)
            self.cache = NounCache(folder, wanted, word_type)

    def transform(self, results: dict) -> dict:
        """Add the nouns."""
        nouns = results.get('nouns')
        if nouns is None and self.cache is not None:
            shard_name, _, key = results['sample_key'].partition('/')  # a list's keys have no '/'
            nouns = self.cache.find(results['shard'], key or shard_name, results['caption'])
        nouns = self._nouns_of(results['caption']) if nouns is None else nouns
        results['nouns'] = [noun for noun in nouns if noun.lower() not in self._ignored]
        return results
