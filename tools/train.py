"""Trains a model: tools/train.py CONFIG (the options are MMSegmentation's)."""

from mmengine.config import Config
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


def use_mixed_precision(cfg: Config) -> None:
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
    if cfg.get('load_from'):
        from code_mm.engine.checkpoint_check import read_local_files_inertly, require_checkpoint

        read_local_files_inertly()
        require_checkpoint(cfg.load_from)
    from mmengine.device import get_device

    from code_mm.engine.freed_memory import keep_freed_memory
    from code_mm.engine.mixed_precision import replace_mixed_precision

    replaced = replace_mixed_precision(cfg)
    if get_device() == 'cpu':
        keep_freed_memory()
    runner = build_runner(cfg, whole_checkpoint=cfg.resume)
    if replaced:  # only now is there a log file
        runner.logger.warning(replaced)
    runner.train()


if __name__ == '__main__':
    main()
