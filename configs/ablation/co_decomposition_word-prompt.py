"""Thesis Table 4.2, C+W: co-decomposition with the word highlighting prompt (31.3)."""

_base_ = '../code_cc3m-cc12m.py'

model = dict(co_decomposition=dict(region_prompt=dict(learnable=False)))
