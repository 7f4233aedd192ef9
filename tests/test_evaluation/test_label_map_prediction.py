import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from code_mm.evaluation import predict_label_maps


class Brightness(torch.nn.Module):
    """A stand-in for a segmentor: the label is 1 where the image is bright."""

    def test_step(self, data):
        (image,) = data['inputs']
        (sample,) = data['data_samples']
        assert isinstance(sample, SegDataSample)
        labels = (image.float().mean(0) > 127).long()
        sample.set_data(dict(pred_sem_seg=PixelData(data=labels[None])))
        return [sample]


def test_images_need_no_truth_and_keep_their_order(tmp_path):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),  # there are none: must be left out
        dict(type='PackSegInputs'),
    ]
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (4, 6, 1), np.uint8).repeat(3, axis=2) for _ in range(2)]
    infos = []
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f'{i}.png')
        infos.append(dict(img_path=str(tmp_path / f'{i}.png')))
    maps = list(predict_label_maps(Brightness(), pipeline, infos))
    for image, labels in zip(images, maps, strict=True):
        assert (labels == (image[..., 0] > 127)).all()
    assert infos[0] == dict(img_path=str(tmp_path / '0.png'))  # unchanged
