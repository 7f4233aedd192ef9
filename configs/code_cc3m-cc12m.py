"""CoDe (ViT-B/16) on CC3M and CC12M, the thesis' setting (§4.1): 4 GPUs x 16 pairs.

mim train code_mm configs/code_cc3m-cc12m.py --launcher pytorch --gpus 4
"""

_base_ = [
    './_base_/models/code_vit-b16.py',
    './_base_/datasets/cc3m_cc12m.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/code_50k.py',
    './_base_/default_runtime.py',
]
