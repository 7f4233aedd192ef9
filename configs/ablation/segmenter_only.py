"""Thesis Table 4.2, first row: the image segmenter with noun sampling, nothing else (29.8)."""

_base_ = '../code_cc3m-cc12m.py'

model = dict(
    co_decomposition=dict(
        text_segmenter=None,
        word_prompt=None,
        region_prompt=dict(learnable=False),
        losses=dict(word_segmentation=None, region_word=None),
    )
)
