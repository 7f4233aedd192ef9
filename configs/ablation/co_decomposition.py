"""Thesis Table 4.2, C: co-decomposition without highlighting prompts (31.0)."""

_base_ = '../code_cc3m-cc12m.py'

model = dict(
    co_decomposition=dict(region_prompt=dict(learnable=False), word_prompt=dict(learnable=False))
)
