"""Reads a trained (or untrained) model in every way that the study compares.

    python projects/shapes_world/study/readings.py CONFIG CHECKPOINT OUT.json --data FOLDER

CHECKPOINT is 'none' for a model that needs no training.
"""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmseg.registry import DATASETS, MODELS

from code_mm.atomic_write import write_text
from code_mm.engine.hooks.co_decomposition_hook import fixed_draws
from projects.shapes_world import WordMaskAccuracy

PAMR = dict(type='PAMR', num_iter=10, dilations=(1, 2, 4, 8, 12, 24))
MIX = dict(weight=0.3, scale=10.0, threshold=0.25, templates='custom')  # the release's constants
# Suffix of the variant's name -> keys of its decode head; the mix needs a trained segmenter.
READINGS = {
    '': dict(post_processor=None, knowledge_preserving=None),
    '_pamr': dict(post_processor=PAMR, knowledge_preserving=None),
    '_mix': dict(post_processor=None, knowledge_preserving=MIX),
    '_mix_pamr': dict(post_processor=PAMR, knowledge_preserving=MIX),
}
METRICS = {
    'miou_with_background': 'mIoU',
    'miou_without_background': 'foreground/mIoU',
    'auc': 'object_auc',
    'miou_best_threshold': 'best_threshold/mIoU',
    'best_threshold': 'best_threshold/threshold',
}
WORD_PAIRS = 300  # captions on which the word masks are scored


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint', help="'none': nothing was trained")
    parser.add_argument('out', type=Path, help='JSON file to write')
    parser.add_argument('--data', required=True, help='folder of the shapes world')
    parser.add_argument('--level', default='hard')
    parser.add_argument('--mix', action='store_true', help='also with the knowledge-preserving mix')
    parser.add_argument('--options', default='{}', help='keys of the config, a python dict')
    return parser.parse_args()


def load(args: argparse.Namespace):
    """The config with the variant's keys, scored on the validation part of a shapes world."""
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(ast.literal_eval(args.options))
    cfg.test_dataloader.dataset.data_root = args.data
    cfg.test_dataloader.dataset.level = args.level
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    if cfg.model.get('background_threshold') is not None:
        cfg.test_evaluator.append(dict(type='BestThresholdIoU'))
    # pictures are drawn elsewhere, and of other data
    hooks = cfg.get('custom_hooks', [])
    cfg.custom_hooks = [hook for hook in hooks if hook.type != 'CoDecompositionHook']
    cfg.launcher, cfg.work_dir = 'none', str(args.out.parent / 'readings')
    return cfg


def read(cfg, reading: dict, checkpoint: str, out: str | None) -> dict[str, float]:
    """Metrics of one reading; label maps go to the folder ``out``."""
    cfg = Config(cfg.to_dict())
    for key, value in reading.items():
        cfg.model.decode_head[key] = value
    cfg.test_evaluator[0].update(output_dir=out, keep_results=out is not None)
    cfg.load_from = None if checkpoint == 'none' else checkpoint
    cfg.experiment_name = f'readings_{sorted(key for key in reading if reading[key])}'
    runner = Runner.from_cfg(cfg)
    if checkpoint == 'none':
        runner.model.init_weights()
    metrics = runner.test()
    return {name: float(metrics[key]) for name, key in METRICS.items() if key in metrics}


def score_words(cfg, checkpoint: str, data: str) -> dict[str, float]:
    """Scores of the word masks on captions of the validation part."""
    model = MODELS.build(cfg.model)
    load_checkpoint(model, checkpoint)
    model.eval()
    ann_file = f'{data}/captions_validation.jsonl'
    pipeline = [t for t in cfg.train_dataloader.dataset.pipeline if 'Random' not in t['type']]
    captions = dict(
        type='CaptionListDataset', data_root=data, ann_file=Path(ann_file).name, pipeline=pipeline
    )
    dataset, metric = DATASETS.build(captions), WordMaskAccuracy(ann_file)
    count = min(WORD_PAIRS, len(dataset))
    with fixed_draws(), torch.no_grad():  # the same nouns for every variant
        pairs = [dataset[i] for i in range(count)]
    for begin in range(0, count, 50):
        batch = model.data_preprocessor(pseudo_collate(pairs[begin : begin + 50]), False)
        metric.process(None, [s.to_dict() for s in model.decompose(**batch)])
    return metric.evaluate(count)


def main() -> None:
    args = parse_args()
    cfg = load(args)
    init_default_scope(cfg.default_scope)
    found = {}
    for suffix, reading in READINGS.items():
        if 'mix' in suffix and not args.mix:
            continue
        maps = str(args.out.parent / f'label_maps{suffix}')
        found[suffix] = read(cfg, reading, args.checkpoint, maps)
    if cfg.model.get('co_decomposition', {}).get('text_segmenter'):
        words = score_words(cfg, args.checkpoint, args.data)
        for scores in found.values():  # the readings differ in the regions only
            scores.update(words)
    write_text(args.out, json.dumps(found, indent=2) + '\n')


if __name__ == '__main__':
    main()
