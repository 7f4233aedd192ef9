"""TCL (Cha et al., CVPR 2023): what it has in place of CoDe's parts, as keys of CoDe's model.

The image segmenter and its losses are those that CoDe takes over. The text is embedded by the
frozen tower as it is, the region is encoded on a blank image, and there is nothing on the side of
the text. In prediction class names are put into templates, whose embeddings are averaged as they are.
"""

tcl = dict(
    co_decomposition=dict(
        noun_prompt=dict(_delete_=True, type='PlainTextPrompt'),
        text_segmenter=None,
        region_prompt=dict(_delete_=True, type='RegionBlanking'),
        word_prompt=None,
        losses=dict(knowledge_guided=None, word_segmentation=None, region_word=None),
    ),
    templates='custom',
    raw_template_mean=True,
)
