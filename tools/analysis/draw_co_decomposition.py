"""Draws how a model splits an image and its caption: regions and words (thesis Fig. 4.2).

Example:
    python tools/analysis/draw_co_decomposition.py configs/code_cc12m.py CHECKPOINT \\
        --image photo.jpg --caption "a cat sleeps on a grey sofa"
"""

import argparse
from pathlib import Path

import numpy as np
from analysis_options import OUT, load_config, load_model, make_parser, save_picture
from run_or_explain import run_or_explain


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config that the model was trained with')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--image', required=True, help='image file')
    parser.add_argument('--caption', required=True, help='a sentence about it')
    parser.add_argument(
        '--nouns',
        nargs='+',
        help="words or phrases to look for; default: what the config's noun selector finds",
    )
    parser.add_argument('--max-nouns', type=int, default=6, help='of the found ones')
    parser.add_argument('--panel', type=int, default=384, help='pixels of the longer side')
    parser.add_argument('--out', type=Path, default=OUT / 'co_decomposition.png', help='picture')
    return parser.parse_args()


def caption_pipeline(cfg) -> list[dict]:
    """Transforms of the captions that the config trains on."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset', {})
    while 'pipeline' not in dataset and ('dataset' in dataset or 'datasets' in dataset):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    return dataset.get('pipeline', [])


def load_pair(cfg, args: argparse.Namespace) -> dict:
    """The pair without the pipeline's random parts: no crop, no flip, no draw of nouns.

    Returns:
        dict: ``inputs`` (3, H, W) uint8 and ``data_samples``, for ``CoDeSegmentor.decompose``.
    """
    from mmcv.transforms import Compose

    from code_mm.nouns import NounSelector
    from code_mm.structures.unusable_sample import UnusableSample

    steps = {step['type'].rpartition('.')[-1]: dict(step) for step in caption_pipeline(cfg)}
    missing = [name for name in ('TokenizeCaption', 'PackCaptionInputs') if name not in steps]
    if missing:
        raise ValueError(
            f'expected a pipeline of image-caption pairs, but it lacks {missing}; use the config '
            'that the model was trained with'
        )
    nouns = args.nouns
    if nouns is None:
        keys = {**steps.get('SelectNouns', {}), **steps.get('LoadNouns', {})}
        keys = {key: keys[key] for key in ('tagger', 'word_type') if key in keys}
        nouns = NounSelector(**keys)(args.caption)[: args.max_nouns]
    if not nouns:
        raise ValueError(f'expected nouns in the caption, but none were found in {args.caption!r}')
    results = dict(img_path=args.image, sample_key=args.image, caption=args.caption)
    results.update(nouns=nouns, selected_nouns=nouns)
    try:
        results = Compose([steps.get('LoadCaptionImage', dict(type='LoadCaptionImage'))])(results)
    except UnusableSample as error:
        raise ValueError(f'expected an image, but {args.image} is none: {error}') from error
    size = steps.get('RandomResizedCrop', {}).get('size')
    shape, patch = results['img_shape'], cfg.model.backbone.get('patch_size', 16)
    scale = np.min(size) / min(shape) if size else 1.0
    height, width = (max(1, round(side * scale / patch)) * patch for side in shape)
    resize = dict(type='Resize', scale=(width, height), keep_ratio=False)
    return Compose([resize, steps['TokenizeCaption'], steps['PackCaptionInputs']])(results)


def main() -> None:
    args = parse_args()
    import mmcv
    import torch
    from mmengine.dataset import pseudo_collate

    from code_mm.visualization import draw_co_decomposition

    cfg = load_config(args.config)
    pair = load_pair(cfg, args)
    nouns = pair['data_samples'].selected_nouns
    print(f'nouns: {", ".join(nouns)}')
    model = load_model(cfg, args.checkpoint, 'draw_co_decomposition')
    with torch.no_grad():
        result = model.decompose(**model.data_preprocessor(pseudo_collate([pair]), False))[0]
    words = result.get('word_masks')  # none without a text segmenter
    picture = draw_co_decomposition(
        mmcv.imread(args.image, channel_order='rgb'),
        result.region_masks.float().cpu().numpy(),
        args.caption,
        None if words is None else words.float().cpu().numpy(),
        nouns,
        args.panel,
        model.backbone.tokenizer,
    )
    save_picture(picture, args.out)


if __name__ == '__main__':
    run_or_explain(main)
