"""The thesis' literal knowledge-guided loss, the squared L2 distance (Eq. 3.1)."""

_base_ = '../code_cc3m-cc12m.py'

model = dict(co_decomposition=dict(losses=dict(knowledge_guided=dict(mode='squared_l2'))))
