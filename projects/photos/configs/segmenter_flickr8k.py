"""The image segmenter alone on captioned photographs: thesis Table 4.2, first row."""

_base_ = './code_flickr8k.py'

model = dict(
    co_decomposition=dict(
        region_prompt=dict(learnable=False),
        text_segmenter=None,
        word_prompt=None,
        losses=dict(word_segmentation=None, region_word=None),
    )
)
