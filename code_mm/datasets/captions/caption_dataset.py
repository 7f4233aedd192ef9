"""What all caption datasets share: bad samples are counted and replaced."""

from abc import abstractmethod
from collections.abc import Sequence

from mmengine.dataset import BaseDataset

from code_mm.datasets.sample_ledger import SampleLedger, Skip
from code_mm.structures.unusable_sample import UNUSABLE_REASONS, UnusableSample

# Characters; what follows the 77 tokens of CLIP's text tower is never seen anyway.
MAX_CAPTION = 100_000


class CaptionDataset(BaseDataset):
    """Pairs of an image and a caption, map style.

    A sample whose image or caption turns out to be unusable (see
    :data:`~code_mm.structures.unusable_sample.UNUSABLE_REASONS`) is counted with
    its reason, named in a warning and replaced by another one drawn with
    ``np.random``, so a seed fixes the replacement too.

    Subclasses read the index in ``load_data_list``, where they append what they
    leave out to ``self.index_skips``, and one sample in ``read_sample``.

    Args:
        max_refetch: replacements tried for one sample before an error is raised.
        max_bad_fraction: share of unusable samples, in (0, 1], above which loading
            stops with an error (after 200 samples per process).
        max_warnings: warnings about single samples, per process.
        **kwargs: of :class:`mmengine.dataset.BaseDataset` (``ann_file``, ``metainfo``,
            ``data_root``, ``data_prefix``, ``indices``, ``pipeline``, ``lazy_init``, …).
    """

    METAINFO = dict(dataset_type='image_caption')

    def __init__(
        self,
        *,
        max_refetch: int = 100,
        max_bad_fraction: float = 0.5,
        max_warnings: int = 20,
        **kwargs,
    ) -> None:
        self.index_skips: list[Skip] = []
        self._limits = dict(max_bad_fraction=max_bad_fraction, max_warnings=max_warnings)
        self._ledger = SampleLedger(self.name, 0, **self._limits)  # checks the limits
        super().__init__(max_refetch=max_refetch, **kwargs)

    @property
    def name(self) -> str:
        """How messages name this dataset."""
        return type(self).__name__

    @abstractmethod
    def read_sample(self, info: dict) -> dict:
        """Add image (``img_bytes`` or ``img_path``), ``caption`` and, if known, ``nouns``.

        Raises:
            UnusableSample: the sample cannot be read.
        """

    @staticmethod
    def checked_caption(caption: object) -> str:
        """The caption without surrounding blanks.

        Raises:
            UnusableSample: it is no string, empty, too long, or mostly no text.
        """
        if not isinstance(caption, str):
            raise UnusableSample('missing_caption', f'expected a string, got {caption!r}')
        if not caption.strip():
            raise UnusableSample('empty_caption')
        if len(caption) > MAX_CAPTION:
            raise UnusableSample('bad_caption', f'{len(caption)} characters')
        if 3 * caption.count('\ufffd') > len(caption):  # a wrong accent here and there is kept
            raise UnusableSample('bad_caption', f'no UTF-8 text: {caption[:20]!r}')
        return caption.strip()

    @staticmethod
    def checked_nouns(nouns: object) -> list[str]:
        """Pre-computed nouns, each once, in their order, blank ones dropped.

        Raises:
            UnusableSample: no list of strings.
        """
        if not isinstance(nouns, list) or not all(isinstance(noun, str) for noun in nouns):
            raise UnusableSample('bad_fields', f'expected a list of nouns, got {nouns!r}')
        return list(dict.fromkeys(noun.strip() for noun in nouns if noun.strip()))

    def full_init(self) -> None:
        """Build the index, once, and log its size and what it left out."""
        if self._fully_initialized:
            return
        super().full_init()
        if not len(self):
            raise ValueError(f'{self.name}: expected at least one sample, but indices select none')
        self._open_ledger()
        self._ledger.log_index_summary()

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep only the samples ``indices``, or the first or last so many; counts start anew."""
        super().get_subset_(indices)
        self._open_ledger()

    def get_subset(self, indices: Sequence[int] | int) -> 'CaptionDataset':
        """A dataset of the samples ``indices`` only, with counts of its own."""
        subset = super().get_subset(indices)
        subset._open_ledger()
        return subset

    def _open_ledger(self) -> None:
        self._ledger = SampleLedger(self.name, len(self), self.index_skips, **self._limits)

    def prepare_data(self, idx: int) -> dict | None:
        """The sample after the pipeline, or None (counted) where it is unusable."""
        info = self.get_data_info(idx)
        index, key = info['sample_idx'], info['sample_key']
        try:
            sample = self.pipeline(self.read_sample(info))
            if sample is None:
                raise UnusableSample('other', 'a transform returned None')
        except UnusableSample as problem:
            self._ledger.skip(index, key, problem)
            return None
        self._ledger.use(index)
        return sample

    def __getitem__(self, idx: int) -> dict:
        """The sample ``idx`` after the pipeline, or a replacement drawn with ``np.random``.

        Raises:
            RuntimeError: no usable sample among ``max_refetch`` replacements, too large
                a share of unusable ones, or an unusable one in ``test_mode``.
        """
        self.full_init()
        for _ in range(self.max_refetch + 1):
            sample = self.prepare_data(idx)
            if sample is not None:
                return sample
            if self.test_mode:
                raise RuntimeError(f'{self.name}: sample {idx} is unusable: {self.skipped_keys}')
            idx = self._rand_another()
        raise RuntimeError(
            f'{self.name}: found no usable sample in {self.max_refetch + 1} tries; left out so '
            f'far: {self.skipped}. Check the data and the pipeline (e.g. num_nouns, min_size)'
        )

    @property
    def skipped(self) -> dict[str, int]:
        """How many items were left out so far, by reason, in all loader workers."""
        return self._ledger.counts()

    @property
    def skipped_keys(self) -> dict[str, list[str]]:
        """Which items were left out so far, by reason, in all loader workers."""
        keys: dict[str, list[str]] = {}
        for skip in self._ledger.index_skips:
            keys.setdefault(skip.reason, []).append(skip.key)
        for reason in UNUSABLE_REASONS:
            for index in self._ledger.skipped_indices(reason):
                keys.setdefault(reason, []).append(self.get_data_info(index)['sample_key'])
        return keys

    @property
    def num_used(self) -> int:
        """How many distinct samples came through the pipeline so far, in all loader workers."""
        return self._ledger.num_used
