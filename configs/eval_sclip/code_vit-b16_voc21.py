"""CoDe on voc21 under SCLIP's protocol: python tools/test.py THIS_CONFIG CHECKPOINT."""

_base_ = './code_vit-b16_all.py'

test_cfg = dict(only=['voc21'])
