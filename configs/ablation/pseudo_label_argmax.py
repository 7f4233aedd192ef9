"""The thesis' literal pseudo labels of words: the arg-max of the current probabilities (§3.2)."""

_base_ = '../code_cc3m-cc12m.py'

model = dict(co_decomposition=dict(losses=dict(word_segmentation=dict(pseudo_label='argmax'))))
