"""Thesis Table 4.3: weight 0.1 of the region-word contrastive loss (0.5 is CoDe)."""

_base_ = '../code_cc3m-cc12m.py'

model = dict(co_decomposition=dict(losses=dict(region_word=dict(loss_weight=0.1))))
