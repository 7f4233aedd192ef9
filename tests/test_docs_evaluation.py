"""The snippets of docs/evaluation.md are run."""

import json
import re
from pathlib import Path

from mmengine.config import Config

from code_mm.engine.config_check import check_config
from code_mm.engine.loops.multi_dataset_loop import KEYS, choose_benchmarks

ROOT = Path(__file__).parents[1]
SNIPPETS = re.findall(
    r'```python\n(.*?)```', (ROOT / 'docs' / 'evaluation.md').read_text(), re.DOTALL
)


def config(snippet, tmp_path):
    file = tmp_path / 'mine.py'
    file.write_text(snippet.replace('../configs', str(ROOT / 'configs')))
    cfg = Config.fromfile(file)
    check_config(cfg)
    return cfg


def test_comparing_two_records(tmp_path):
    files, lines = [tmp_path / 'a.json', tmp_path / 'b.json'], []
    for file, threshold in zip(files, (0.4, 0.5), strict=True):
        model = dict(window=[1, 2], threshold=threshold)
        record = dict(benchmarks=dict(voc21=dict(model=model, metrics=dict(mIoU=1.0))))
        file.write_text(json.dumps(record))
    exec(SNIPPETS[0], dict(FILES=files, print=lines.append))
    assert lines == ['.model.threshold: 0.4 / 0.5']


def test_validation_in_training(tmp_path):
    cfg = config(SNIPPETS[1], tmp_path)
    assert cfg.val_cfg.type == 'MultiDatasetValLoop'
    chosen = choose_benchmarks(cfg.val_cfg.benchmarks, cfg.val_cfg.only)
    assert list(chosen) == ['voc21', 'cityscapes']
    assert chosen['voc21']['background_threshold'] == 0.4
    assert cfg.default_hooks.checkpoint.type == 'CheckpointHook'
    assert cfg.val_dataloader.dataset.pipeline == cfg.test_pipeline


def test_a_benchmark_of_ones_own(tmp_path):
    cfg = config(SNIPPETS[2], tmp_path)
    chosen = choose_benchmarks(cfg.test_cfg.benchmarks)
    assert len(chosen) == 7
    assert set(chosen['garden']) <= set(KEYS)
    assert len(SNIPPETS) == 3
