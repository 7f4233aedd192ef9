"""Thesis §4.4: regions aligned with single nouns in place of word segments (30.2)."""

_base_ = '../code_cc3m-cc12m.py'

model = dict(co_decomposition=dict(losses=dict(region_word=dict(text='nouns'))))
