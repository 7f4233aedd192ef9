"""Zero-shot evaluation by the configs of ``configs/eval``, on both folder layouts."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import Runner
from mmseg.apis import inference_model, init_model
from tiny_configs import load, shrink
from tiny_model import tiny_clip, tiny_code

from projects.shapes_world import ShapesWorld, write_evaluation

COUNT = 2


def build_runner(world, name, root, work_dir, **evaluator):
    cfg = shrink(load(f'eval/{name}.py'), world.clip)
    cfg.merge_from_dict(
        {
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            'test_dataloader.dataset.data_root': str(root),
        }
    )
    cfg.test_evaluator.update(evaluator)
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir).replace('/', '_')
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    return runner


@pytest.fixture(scope='module')
def folders(world):
    shapes = ShapesWorld('easy', size=32)
    write_evaluation(shapes, world.folder / 'cityscapes', COUNT, layout='cityscapes')
    return dict(ade20k=world.folder / 'ade', cityscapes=world.folder / 'cityscapes')


@pytest.mark.parametrize('data', ['ade20k', 'cityscapes'])
@pytest.mark.parametrize('method', ['code', 'maskclip'])
def test_an_evaluation_config(world, folders, tmp_path, method, data):
    runner = build_runner(world, f'{method}_vit-b16_{data}', folders[data], tmp_path)
    metrics = runner.test()
    assert 0 <= metrics['mIoU'] <= 100
    model, clip = runner.model, tiny_clip()
    assert len(model.class_names) == dict(ade20k=150, cityscapes=19)[data]
    # the weights are the file's, not random
    assert torch.equal(model.backbone.visual.proj, clip.visual.proj)
    assert torch.equal(model.backbone.text.text_projection, clip.text.text_projection)


def test_mmsegs_inference_api(world, folders, tmp_path):
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
