"""Choosing a model and class names: options that tools/segment.py and check_classes.py share."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO_CONFIG = ROOT / 'projects/shapes_world/configs/code_shapes-hard_pamr.py'
DEMO_RUN = 'work_dirs/shapes_demo/seed_*/train/last_checkpoint'
DEMO_SIDE = 64  # pixels of the images that it was trained on
NO_MODEL = """no model was given, and the demo's is not there. Three ways to one:
  make demo
      trains a small CoDe on a world of shapes, in minutes without a GPU; on photos it knows nothing
  --config configs/eval/maskclip_vit-b16_ade20k.py
      MaskCLIP, no training; needs OpenAI's weights/ViT-B-16.pt (docs/weights.md)
  --config configs/eval/code_vit-b16_ade20k.py --checkpoint FILE
      CoDe; FILE is the authors' checkpoint or your own"""
DEMO_SAID = (
    "No --config: using the demo's model {}.\n"
    'It knows the shapes of its small world only (star, heart, tree, house ...).'
)


def add_model_options(parser: argparse.ArgumentParser, classes: str | None = None) -> None:
    """``classes``: those where none are given; by default some must be."""
    from mmengine.config import DictAction

    parser.add_argument(
        '--classes',
        required=classes is None,
        default=classes,
        help='"cat, grey sofa, car|automobile" (| parts synonyms), or a .txt file, one name a line',
    )
    parser.add_argument('--config', help="config of the model; the demo's by default")
    parser.add_argument(
        '--checkpoint', help='checkpoint; by default the weights that the config names'
    )
    parser.add_argument('--device', help='cpu, cuda:0 ...; the accelerator by default')
    parser.add_argument(
        '--batch-size', type=int, default=1, help='images at a time, if of one size'
    )
    parser.add_argument(
        '--shorter-side', type=int, help="pixels for the network, in place of the config's resizing"
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override keys of the config, key=value'
    )


def find_demo() -> Path | None:
    """The newest checkpoint of a demo, here or in the checkout."""
    for root in (Path.cwd(), ROOT):
        for last in sorted(root.glob(DEMO_RUN)):
            # by its name: the folder may have been moved since
            checkpoint = last.with_name(Path(last.read_text().strip()).name)
            if checkpoint.is_file():
                return checkpoint
    return None


def build_inferencer(args: argparse.Namespace, **keys):
    """A CoDeInferencer of the model that was chosen; sets what was not given."""
    if args.config is None:
        if args.checkpoint is not None:
            raise ValueError('expected --config beside --checkpoint: the model that it belongs to')
        demo = find_demo()
        if demo is None:
            raise ValueError(NO_MODEL)
        print(DEMO_SAID.format(demo), file=sys.stderr)
        args.config, args.checkpoint = str(DEMO_CONFIG), str(demo)
        args.shorter_side = args.shorter_side or DEMO_SIDE

    from code_mm.apis import CoDeInferencer
    from code_mm.apis.load_model import load_config
    from code_mm.engine.config_check import check_options
    from code_mm.vocabulary import ClassNameFile

    cfg, classes = load_config(args.config), args.classes
    if Path(classes).suffix.lower() in ('.txt', '.csv'):
        classes = list(ClassNameFile.read(classes).names)
    check_options(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    return CoDeInferencer(
        cfg,
        args.checkpoint,
        args.device,
        classes,
        shorter_side=args.shorter_side,
        **keys,
    )
