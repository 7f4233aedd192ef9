"""A trained CoDe behind mmseg's inference API."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.apis import inference_model, init_model
from tiny_configs import load, shrink
from tiny_model import tiny_code


def test_mmsegs_inference_api(world, tmp_path):
    """``init_model`` and ``inference_model`` as for any other model of MMSegmentation."""
    cfg = shrink(load('code_cc12m.py'), world.clip)
    trained = tiny_code(seed=3, decode_head=cfg.model.decode_head)
    meta = dict(dataset_meta=dict(dataset_type='image_caption'))
    torch.save(dict(state_dict=trained.state_dict(), meta=meta), tmp_path / 'code.pth')
    model = init_model(cfg, str(tmp_path / 'code.pth'), device='cpu')
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    with pytest.raises(RuntimeError, match=r'or call model.set_class_names\(\[...\]\)'):
        inference_model(model, picture)
    model.set_class_names(['star', 'boat'])
    result = inference_model(model, picture)
    assert result.pred_sem_seg.data.shape == (1, 40, 60)
    # the same by hand: resized to short side 32, normalised, windows of 32 pixels
    resized = cv2.resize(picture, (48, 32), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    mean, std = (np.array(cfg.model.data_preprocessor[key]) for key in ('mean', 'std'))
    image = torch.from_numpy((resized - mean) / std).permute(2, 0, 1)[None].float()
    model.set_class_names(['star', 'boat'])
    with torch.no_grad():
        scores = model.inference(image, [dict(img_shape=(32, 48), ori_shape=(40, 60))])
    scores = F.interpolate(scores, (40, 60), mode='bilinear', align_corners=False)
    torch.testing.assert_close(result.seg_logits.data, scores[0], atol=1e-4, rtol=1e-4)
