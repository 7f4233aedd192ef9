"""Draws the predictions of several models on the same images beside each other (thesis Fig. 4.1).

Example:
    python tools/analysis/compare_models.py \\
        --model MaskCLIP projects/shapes_world/configs/maskclip_shapes-hard.py none \\
        --model CoDe projects/shapes_world/configs/code_shapes-hard.py CHECKPOINT --num-images 4
"""

import argparse
import copy
from pathlib import Path

from analysis_options import (
    OUT,
    add_config_options,
    add_picture_options,
    load_config,
    load_model,
    make_parser,
    save_table,
    say_left_out,
    test_dataset,
    test_dataset_config,
)
from run_or_explain import run_or_explain


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        '--model',
        nargs=3,
        action='append',
        required=True,
        metavar=('TITLE', 'CONFIG', 'CHECKPOINT'),
        help='one column; repeat for more. The first config gives the data set; "none" takes the '
        'weights that the config names',
    )
    parser.add_argument(
        '--images',
        nargs='+',
        help='indices or names of images of the data set, or files (which have no truth)',
    )
    parser.add_argument('--num-images', type=int, default=4, help='images drawn at random')
    parser.add_argument('--seed', type=int, default=0, help='of that draw')
    parser.add_argument(
        '--classes', help='class names instead of the data set\'s, "cat, grey sofa"; no truth then'
    )
    add_config_options(parser)
    add_picture_options(parser)
    parser.add_argument('--out', type=Path, default=OUT / 'compare_models.png', help='picture')
    return parser.parse_args()


def choose_samples(args: argparse.Namespace, dataset, failed: dict) -> list[tuple[dict, dict]]:
    """What is known of each image, as the data set's pipeline takes it, and its truth by title."""
    import numpy as np
    from label_maps import BROKEN, find_image, image_paths, load_truth

    if args.images:
        paths = image_paths(dataset)
        chosen = [find_image(paths, name) for name in args.images]
    else:
        drawn = np.random.default_rng(args.seed).permutation(len(dataset))
        chosen = sorted(drawn[: max(1, args.num_images)].tolist())
    samples = []
    for choice in chosen:
        if isinstance(choice, str):
            samples.append((dict(img_path=choice), {}))
            continue
        info = dataset.get_data_info(choice)
        try:
            truth = {} if args.classes else {'truth': load_truth(dataset, choice)[0]}
        except BROKEN as error:
            failed[info['img_path']] = f'{type(error).__name__}: {error}'
        else:
            samples.append((info, truth))
    return samples


def meta_of(args: argparse.Namespace, dataset) -> dict:
    """Class names and colours; with classes of the user's own label 0 is the background."""
    from mmseg.datasets import BaseSegDataset

    from code_mm.apis.class_query import BACKGROUND, parse_class_names

    if not args.classes:
        return dataset.metainfo
    words = [name for name in parse_class_names(args.classes) if name != BACKGROUND]
    return BaseSegDataset(metainfo=dict(classes=[BACKGROUND, *words]), lazy_init=True).metainfo


def name_classes(segmentor, cfg, args: argparse.Namespace, meta: dict) -> int:
    """Tell a model what to look for; by how much its labels lie below those of the picture."""
    from code_mm.apis.class_query import make_query

    if not hasattr(segmentor, 'set_class_names'):  # trained for its classes
        return 0
    benchmark = ((cfg.get('test_cfg') or {}).get('benchmarks') or {}).get(args.dataset) or {}
    if 'background_threshold' in benchmark:
        segmentor.set_background_threshold(benchmark['background_threshold'])
    if args.classes:
        query = make_query(args.classes, configured_threshold=segmentor.background_threshold)
        segmentor.set_class_names(list(query.names))
        return int(query.background_threshold is None)
    hooks = [h for h in cfg.get('custom_hooks', []) if h['type'].endswith('ClassNamesHook')]
    given = [keys['class_names'] for keys in (benchmark, *hooks) if keys.get('class_names')]
    segmentor.set_class_names(list(given[0] if given else meta['classes']))
    return 0


def predict(
    args: argparse.Namespace, model: list[str], infos: list[dict], meta: dict, failed: dict
) -> list:
    """Label maps (H, W) of one model on all images, which need no truth, as in a test run.

    None stands for an image that cannot be read or resized; ``failed`` says why.
    """
    import torch
    from label_maps import BROKEN
    from mmcv.transforms import Compose
    from mmengine.dataset import pseudo_collate
    from rich.progress import track

    title, config, checkpoint = model
    cfg = load_config(config, args.cfg_options)
    segmentor = load_model(cfg, checkpoint, title)
    shift = name_classes(segmentor, cfg, args, meta)
    pipeline = test_dataset_config(cfg, args.dataset)['pipeline']
    transform = Compose([step for step in pipeline if 'Annotation' not in step['type']])
    maps = []
    with torch.no_grad():
        for info in track(infos, title):
            try:
                packed = transform(copy.deepcopy(info))
            except BROKEN as error:
                failed[info['img_path']] = f'{type(error).__name__}: {error}'
                maps.append(None)
                continue
            (found,) = segmentor.test_step(pseudo_collate([packed]))
            maps.append(found.pred_sem_seg.data[0].cpu().numpy().astype(int) + shift)
    return maps


def main() -> int:
    args = parse_args()
    titles = [model[0] for model in args.model]
    if len(set(titles)) < len(titles):
        raise ValueError(f'expected different titles, but got {titles}')
    import mmcv

    from code_mm.visualization import ComparisonRow

    dataset = test_dataset(args.model[0][1], args)
    failed: dict[str, str] = {}
    samples, meta = choose_samples(args, dataset, failed), meta_of(args, dataset)
    infos = [info for info, _ in samples]
    predictions = {model[0]: predict(args, model, infos, meta, failed) for model in args.model}

    rows = []
    for i, (info, truth) in enumerate(samples):
        if info['img_path'] in failed:
            continue
        maps = {**truth, **{title: found[i] for title, found in predictions.items()}}
        path = info['img_path']
        rows.append(ComparisonRow(mmcv.imread(path, channel_order='rgb'), maps, Path(path).name))
    if rows:
        save_table(rows, meta, dataset, args, args.out)
    return say_left_out(failed)


if __name__ == '__main__':
    run_or_explain(main)
