"""CoDe with regions aligned with single nouns in place of word segments (thesis §4.4)."""

_base_ = './code_flickr8k.py'

model = dict(co_decomposition=dict(losses=dict(region_word=dict(text='nouns'))))
