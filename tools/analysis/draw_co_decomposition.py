"""Draws how a model splits an image and its caption: regions and words (thesis Fig. 4.2).

Example:
    python tools/analysis/draw_co_decomposition.py configs/code_cc12m.py CHECKPOINT \\
        --image photo.jpg --caption "a cat sleeps on a grey sofa"
"""

import argparse
from pathlib import Path

from analysis_options import OUT, load_config, load_model, save_picture


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    parser.add_argument(
        '--size', type=int, help='shorter side for the network in pixels; default: as in training'
    )
    parser.add_argument('--panel', type=int, default=384, help='pixels of the longer side')
    parser.add_argument('--out', type=Path, default=OUT / 'co_decomposition.png', help='picture')
    return parser.parse_args()


def caption_pipeline(cfg) -> list[dict]:
    """Transforms of the captions that the config trains on."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset', {})
    while 'pipeline' not in dataset and ('dataset' in dataset or 'datasets' in dataset):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    return dataset.get('pipeline', [])


def main() -> None:
    args = parse_args()
    import mmcv
    import torch
    from mmengine.dataset import pseudo_collate

    from code_mm.visualization import draw_co_decomposition, load_caption_pair

    cfg = load_config(args.config)
    pair = load_caption_pair(
        caption_pipeline(cfg),
        args.image,
        args.caption,
        args.nouns,
        args.max_nouns,
        args.size,
        cfg.model.backbone.get('patch_size', 16),
    )
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
        panel=args.panel,
    )
    save_picture(picture, args.out)


if __name__ == '__main__':
    main()
