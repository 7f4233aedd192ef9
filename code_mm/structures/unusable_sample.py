"""A sample that cannot be trained on, and why."""

# Why a sample was left out, as counted by the caption datasets.
UNUSABLE_REASONS = (
    'missing_shard',  # a shard that was named is not there
    'unreadable_shard',  # a shard that is no tar file, or is compressed
    'truncated_shard',  # a shard that ends too early
    'corrupt_header',  # bytes between members that belong to no member
    'duplicate_member',  # a second image or caption of the same key; the first is kept
    'unused_member',  # a file in a shard that is no part of a pair; it costs no sample
    'bad_row',  # a row of a caption list that cannot be read
    'bad_fields',  # a json member that cannot be read
    'missing_image',
    'missing_caption',
    'empty_caption',
    'bad_caption',  # mostly bytes that are no UTF-8, or far too long
    'broken_image',  # no picture, or only a part of one
    'small_image',
    'large_image',  # more pixels than the memory should be asked for
    'few_nouns',
    'other',
)


class UnusableSample(Exception):
    """Raised by a transform to have its sample counted and replaced by the caption datasets.

    Args:
        reason (str): One of :data:`UNUSABLE_REASONS`.
        detail (str): What was found, in words.
    """

    def __init__(self, reason: str, detail: str = '') -> None:
        if reason not in UNUSABLE_REASONS:
            raise ValueError(f'expected reason to be one of {UNUSABLE_REASONS}, got {reason!r}')
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f'{self.reason} ({self.detail})' if self.detail else self.reason
