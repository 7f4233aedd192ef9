"""Golden cases 12 and 13 as a user runs them: config, release checkpoint, tools/test.py."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from released_model import model_config

ROOT = Path(__file__).resolve().parents[2]
CONVERTER = ROOT / 'tools' / 'model_converters' / 'release.py'
BASE = ROOT / 'configs' / 'eval' / 'code_vit-b16_ade20k.py'
BACKGROUND = 'background'


class Workplace:
    """Images, label files, a config and a checkpoint; ``run`` is tools/test.py."""

    def __init__(self, golden, folder, monkeypatch):
        self.golden, self.folder, self.monkeypatch = golden, folder, monkeypatch
        self.case12, self.case13 = golden.case('12_inference'), golden.case('13_slide')
        self.expected = golden.tensors(self.case12)
        self.release = golden.release
        self.base = Config.fromfile(BASE)

    def write_images(self, images):
        """Normalised images [1, 3, H, W] as float tiff files that the pipeline normalises back."""
        import tifffile

        for kind in ('images', 'labels'):
            (self.folder / kind).mkdir(exist_ok=True)
        preprocessor = self.base.model.data_preprocessor
        mean, std = (np.array(preprocessor[key]) for key in ('mean', 'std'))
        for name, image in images.items():
            rgb = image[0].permute(1, 2, 0).double().numpy() * std + mean
            bgr = np.ascontiguousarray(rgb[..., ::-1]).astype(np.float32)
            tifffile.imwrite(self.folder / 'images' / f'{name}.tiff', bgr, photometric='rgb')
            blank = np.zeros(bgr.shape[:2], np.uint8)  # the metric needs labels of some kind
            Image.fromarray(blank).save(self.folder / 'labels' / f'{name}.png')

    def config(self, classes, pamr, weight, threshold, **test_cfg):
        """The evaluation config with this model's sizes and these images."""
        index = self.golden.index
        templates = self.case12['strings']['kp_templates']
        prompt = torch.load(self.release, weights_only=True)['model']['learnable_image_bg']
        model = model_config(index, prompt.shape[-1])
        model.update(type='CoDeSegmentor', data_preprocessor=self.base.model.data_preprocessor)
        model['test_cfg'] = test_cfg or dict(mode='whole')
        model['background_threshold'] = threshold
        model['decode_head'].update(
            knowledge_preserving=dict(weight=weight, templates=templates),
            post_processor=dict(type='PAMR') if pamr else None,
        )
        cfg = Config.fromfile(BASE)
        cfg.model = model
        dataset = dict(
            type='BaseSegDataset',
            data_root=str(self.folder),
            data_prefix=dict(img_path='images', seg_map_path='labels'),
            img_suffix='.tiff',
            metainfo=dict(classes=([BACKGROUND] if threshold else []) + classes),
            pipeline=[
                dict(type='LoadImageFromFile', imdecode_backend='tifffile'),
                dict(type='LoadAnnotations'),
                dict(type='PackSegInputs'),
            ],
        )
        cfg.test_dataloader.update(dataset=dataset, num_workers=0, persistent_workers=False)
        path = self.folder / 'config.py'
        cfg.dump(path)
        return path

    def command(self, config, checkpoint, out):
        work = self.folder / 'work'
        return [str(a) for a in (config, checkpoint, '--out', out, '--work-dir', work)]

    def run(self, config, checkpoint):
        """Label maps by image name, from tools/test.py in this process."""
        out = self.folder / 'out'
        path = ROOT / 'tools' / 'test.py'
        self.monkeypatch.setattr(sys, 'argv', [str(path), *self.command(config, checkpoint, out)])
        self.monkeypatch.syspath_prepend(path.parent)
        spec = importlib.util.spec_from_file_location('tool_test', path)
        tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tool)
        tool.main()
        sys.modules.pop('runner_options', None)
        return self.labels(out)

    @staticmethod
    def labels(out):
        return {p.stem: torch.from_numpy(np.array(Image.open(p))) for p in out.glob('*.png')}

    def assert_labels(self, found, case, expected, scores, threshold, entry):
        if threshold:
            scores = torch.cat([torch.full_like(scores[:, :1], threshold), scores], dim=1)
        # label maps are [1, h, w] in the golden data
        assert found.shape == expected.shape[-2:], case
        self.golden.assert_labels(found[None], expected, scores[0], entry)


@pytest.fixture
def workplace(golden, tmp_path, monkeypatch):
    for name in ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')  # what the tool sets is undone afterwards
    return Workplace(golden, tmp_path, monkeypatch)


def test_a_converted_checkpoint_in_a_process_of_its_own(workplace):
    arguments, strings = workplace.case12['arguments'], workplace.case12['strings']
    pamr, weight = arguments['pamr'][-1], arguments['kp_w'][-1]
    sizes = [n.removesuffix('.image') for n in workplace.expected if n.endswith('.image')]
    workplace.write_images({n: workplace.expected[f'{n}.image'] for n in sizes})
    config = workplace.config(strings['classes'], pamr, weight, arguments['bg_thresh'])
    converted = workplace.folder / 'converted.pth'
    for tool in (
        [CONVERTER, workplace.release, converted],
        [ROOT / 'tools/test.py', *workplace.command(config, converted, workplace.folder / 'out')],
    ):
        done = subprocess.run(
            [sys.executable, *map(str, tool)], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-3000:]
        if tool[0] == CONVERTER:
            assert '(CoDe release)' in done.stdout and 'unexpected []' in done.stdout
    found = workplace.labels(workplace.folder / 'out')
    assert set(found) == set(sizes)
    for size, labels in found.items():
        case = f'{size}.pamr{int(pamr)}_kp{weight}'
        expected, scores = (workplace.expected[f'{case}.{n}'] for n in ('label_bg1', 'mask'))
        threshold = arguments['bg_thresh']
        workplace.assert_labels(labels, case, expected, scores, threshold, workplace.case12)
    (log,) = (workplace.folder / 'work').glob('*/*.json')
    assert 'mIoU' in json.loads(log.read_text())


@pytest.mark.parametrize('with_bg', [True, False])
def test_label_maps_of_sliding_windows(workplace, with_bg):
    arguments, entry = workplace.case13['arguments'], workplace.case13
    expected = workplace.golden.tensors(entry)
    shape = entry['details']['same.bg1']['ori_shape']
    same = next(
        value
        for name, value in workplace.expected.items()
        if name.endswith('.image') and list(value.shape[2:]) == shape
    )
    workplace.write_images(dict(same=same, thin=expected['thin_image']))
    threshold = arguments['bg_thresh'] if with_bg else None
    config = workplace.config(
        workplace.case12['strings']['classes'],
        arguments['pamr'],
        arguments['kp_w'],
        threshold,
        mode='slide',
        crop_size=tuple(arguments['crop']),
        stride=tuple(arguments['stride']),
    )
    found = workplace.run(config, workplace.release)
    assert set(found) == {'same', 'thin'}
    for name, labels in found.items():
        label = expected[f'{name}.bg{int(with_bg)}.label']
        scores = expected[f'{name}.average_scores']
        of_foreground = scores.shape[1] == len(workplace.case12['strings']['classes'])
        plane = threshold if of_foreground else None
        workplace.assert_labels(labels, name, label, scores, plane, entry)
