"""TCL (Cha et al., CVPR 2023) on CLIP ViT-B/16, for prediction with its published checkpoint.

The image segmenter is the one that CoDe takes over; class names are put into templates, there are
no learnt contexts and nothing on the side of the text.
"""

_base_ = './code_vit-b16.py'

model = dict(
    noun_prompt=None,
    text_segmenter=None,
    region_prompt=None,
    word_prompt=None,
    decode_head=dict(templates='custom'),
    losses=dict(_delete_=True),
)
