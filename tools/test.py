"""Evaluates a model: tools/test.py CONFIG [CHECKPOINT] (the options are MMSegmentation's)."""

from pathlib import Path

from run_or_explain import run_or_explain
from runner_options import Config, build_runner, load_config, make_parser


def parse_args():
    parser = make_parser('Evaluate a model')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='of this project, of the CoDe or TCL release, or exported trained parts; by path, '
        'name or address (docs/weights.md); without one (or with "none") the weights that the '
        'config names',
    )
    parser.add_argument('--out', help='folder for the predictions, one png per image')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds per picture shown')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    return parser.parse_args()


def choose_weights(cfg: Config, checkpoint: str | None) -> None:
    """Sets ``load_from``; without it the weights are those that the config names (init_cfg)."""
    from code_mm.weights.model_weights import pretrained_files

    cfg.resume = False
    if checkpoint not in (None, 'none'):  # `mim test` insists on one
        cfg.load_from = checkpoint
    if not cfg.get('load_from') and not any(pretrained_files(cfg.model)):
        raise ValueError(
            'expected a checkpoint, but got none, and the config names no weights either '
            "(load_from, or init_cfg=dict(type='Pretrained', checkpoint=...) in the model); "
            'give the checkpoint after the config'
        )


def draw_predictions(cfg: Config, args) -> None:
    """Turns the visualization hook on, as --show and --show-dir ask."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ValueError(
            '--show and --show-dir: expected a visualization hook in the config, but got none; '
            "add visualization=dict(type='SegVisualizationHook') to default_hooks"
        )
    hook.draw = True
    if args.show:
        hook.update(show=True, wait_time=args.wait_time)
    if args.show_dir:
        cfg.visualizer.save_dir = args.show_dir


def benchmarks_with_own(cfg: Config, key: str) -> dict:
    """Name -> keys of the benchmarks of ``test_cfg`` that have a key of their own."""
    chosen = (cfg.get('test_cfg') or {}).get('benchmarks') or {}
    return {name: keys for name, keys in chosen.items() if keys and keys.get(key)}


def save_predictions(cfg: Config, folder: str) -> None:
    """Lets the IoU metrics write their label maps to a folder, or one in it per benchmark."""
    own = benchmarks_with_own(cfg, 'evaluator')
    evaluators = [(cfg.test_evaluator, folder)]
    evaluators += [(keys['evaluator'], str(Path(folder) / name)) for name, keys in own.items()]
    for evaluator, place in evaluators:
        metrics = [evaluator] if isinstance(evaluator, dict) else evaluator
        writers = [metric for metric in metrics if metric['type'].endswith('IoUMetric')]
        if not writers:
            raise ValueError(
                f'--out: expected an IoUMetric in test_evaluator, but got '
                f'{[metric["type"] for metric in metrics]}'
            )
        writers[0].update(output_dir=place, keep_results=True)


def use_augmentation(cfg: Config) -> None:
    """Wraps the model and the pipelines for test-time augmentation."""
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing:
        raise ValueError(f'--tta: expected {" and ".join(missing)} in the config, but got none')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    for keys in benchmarks_with_own(cfg, 'dataset').values():
        if own := keys['dataset'].get('pipeline'):
            labels = [step for step in own if 'LoadAnnotations' in step['type']]
            keys['dataset']['pipeline'] = with_labels(cfg.tta_pipeline, labels)
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def with_labels(node, labels: list):
    """A pipeline that reads its labels by these steps, in place of its own ones."""
    if isinstance(node, dict):
        if labels and 'LoadAnnotations' in str(node.get('type')):
            return dict(labels[0])
        return {key: with_labels(value, labels) for key, value in node.items()}
    return [with_labels(each, labels) for each in node] if isinstance(node, list) else node


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    choose_weights(cfg, args.checkpoint)
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    if args.tta:
        use_augmentation(cfg)
    if args.out:
        save_predictions(cfg, args.out)
    build_runner(cfg).test()


if __name__ == '__main__':
    run_or_explain(main, (OSError,))
