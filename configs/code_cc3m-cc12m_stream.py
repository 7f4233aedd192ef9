"""CoDe (ViT-B/16) on CC3M and CC12M as in code_cc3m-cc12m.py, the shards read as a stream.

mim train code_mm configs/code_cc3m-cc12m_stream.py --launcher pytorch --gpus 4
"""

_base_ = [
    './_base_/models/code_vit-b16.py',
    './_base_/datasets/cc3m_cc12m_stream.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/code_50k.py',
    './_base_/default_runtime.py',
]

# a resumed run goes on at the next shards; hanging workers are named
default_hooks = dict(stream_position=dict(type='StreamPositionHook', interval=50))
