"""What all map-style caption datasets share: bad samples are counted and replaced."""

from mmengine.dataset import BaseDataset

from code_mm.datasets.sample_ledger import SampleLedger, Skip
from code_mm.structures.unusable_sample import UNUSABLE_REASONS, UnusableSample

from .sample import draw_caption


class CaptionDataset(BaseDataset):
    """Pairs of an image and a caption, map style.

    An unusable sample (see :data:`~code_mm.structures.unusable_sample.UNUSABLE_REASONS`) is
    counted with its reason, named in a warning and replaced by another one drawn with
    ``np.random``, so a seed fixes the replacement too.

    Subclasses read the index in ``load_data_list``, where they append what they leave out to
    ``self.index_skips``, and what the index does not hold of a sample in ``read_sample``.

    Args:
        max_refetch (int): Replacements tried for one sample before an error is raised.
        max_bad_fraction (float), max_warnings (int): Of :class:`SampleLedger`.
        **kwargs: Of :class:`mmengine.dataset.BaseDataset` (``pipeline``, ``indices``,
            ``lazy_init``, …).
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
        self.ledger = SampleLedger(self.name, **self._limits)  # checks the limits
        super().__init__(max_refetch=max_refetch, **kwargs)

    @property
    def name(self) -> str:
        """How messages name this dataset."""
        return type(self).__name__

    def read_sample(self, info: dict) -> dict:
        """What the pipeline gets; raises UnusableSample where it cannot be read."""
        return info

    def full_init(self) -> None:
        """Build the index, once, and log its size and what it left out."""
        if self._fully_initialized:
            return
        super().full_init()
        if not len(self):
            raise ValueError(f'{self.name}: expected at least one sample, but indices select none')
        self.ledger = SampleLedger(self.name, self.index_skips, len(self), **self._limits)
        self.ledger.log_index_summary(f'{len(self)} image-caption pairs')

    def prepare_data(self, idx: int) -> dict | None:
        """The sample after the pipeline, or None (counted) where it is unusable."""
        info = self.get_data_info(idx)
        index = info['sample_idx']
        try:
            sample = self.pipeline(draw_caption(self.read_sample(info)))
            if sample is None:
                raise UnusableSample('other', 'a transform returned None')
        except UnusableSample as problem:
            self.ledger.skip(info['sample_key'], problem, index)
            return None
        self.ledger.use(index)
        return sample

    def __getitem__(self, idx: int) -> dict:
        """The sample after the pipeline, or (unless in ``test_mode``) its replacement."""
        self.full_init()
        for _ in range(self.max_refetch + 1):
            if (sample := self.prepare_data(idx)) is not None:
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
        return self.ledger.counts()

    @property
    def skipped_keys(self) -> dict[str, list[str]]:
        """Which they were."""
        keys: dict[str, list[str]] = {}
        for skip in self.ledger.index_skips:
            keys.setdefault(skip.reason, []).append(skip.key)
        for reason in UNUSABLE_REASONS:
            for index in self.ledger.skipped_indices(reason):
                keys.setdefault(reason, []).append(self.get_data_info(index)['sample_key'])
        return keys
