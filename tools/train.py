"""Trains a model: tools/train.py CONFIG (the options are MMSegmentation's)."""

from run_or_explain import run_or_explain
from runner_options import build_runner, load_config, make_parser


def parse_args():
    parser = make_parser('Train a model')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='go on from the newest checkpoint in the work folder, if there is one',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision (needs a GPU)')
    return parser.parse_args()


def use_mixed_precision(cfg) -> None:
    """Exchanges the optimizer wrapper for its mixed-precision form."""
    from mmengine.device import get_device

    if get_device() == 'cpu':
        raise ValueError('--amp: expected a GPU, but got none; leave --amp out')
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind == 'AmpOptimWrapper':
        return
    if kind != 'OptimWrapper':
        raise ValueError(f'--amp: expected optim_wrapper.type OptimWrapper, but got {kind}')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    if args.amp:
        use_mixed_precision(cfg)
    cfg.resume = args.resume or cfg.get('resume', False)
    build_runner(cfg).train()


if __name__ == '__main__':
    run_or_explain(main, (OSError,))
