"""MaskCLIP on coco_object under SCLIP's protocol: python tools/test.py THIS_CONFIG."""

_base_ = './maskclip_vit-b16_all.py'

test_cfg = dict(only=['coco_object'])
