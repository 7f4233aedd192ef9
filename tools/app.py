"""A page in the browser: your images, your words.

Serves this machine only, unless --host says otherwise. Without --config it uses the model that
tools/segment.py uses.

Example:
    python tools/app.py
    python tools/app.py --config configs/code_cc12m.py --checkpoint FILE --compare CONFIG
"""

import argparse
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from model_options import DEMO_CONFIG, ROOT, add_model_options, build_inferencer
from run_or_explain import run_or_explain

MASKCLIP = ROOT / 'projects/shapes_world/configs/maskclip_shapes-hard.py'
HERE = Path(__file__).resolve().parent
WORDS = 'star, heart, tree, house, boat'


def parse_args() -> argparse.Namespace:
    from limits import add_limits

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_options(parser, classes=WORDS)
    parser.add_argument(
        '--compare',
        nargs='+',
        metavar='FILE',
        help='config, and checkpoint if need be, of a second model to compare with',
    )
    parser.add_argument('--host', default='127.0.0.1', help='0.0.0.0: every machine may come')
    parser.add_argument('--port', type=int, help='default: the first free one from 7860')
    add_limits(parser)
    return parser.parse_args()


def title(*files: str | None) -> str:
    return ', '.join(Path(file).stem for file in files if file)


def build_models(args: argparse.Namespace, limits) -> list:
    from concurrent.futures import ThreadPoolExecutor

    from page_model import PageModel

    if len(args.compare or ()) > 2:
        raise ValueError(
            f'expected --compare CONFIG [CHECKPOINT], but got {len(args.compare)} files'
        )
    worker = ThreadPoolExecutor(1)
    inferencer = build_inferencer(args, show_progress=False)
    demo = args.config == str(DEMO_CONFIG)
    names = [inferencer.model.cfg.filename, args.checkpoint]
    models = [PageModel(title(*names), inferencer, limits, worker)]
    second = args.compare or ([str(MASKCLIP)] if demo else [])
    if second:
        files = dict(config=second[0], checkpoint=second[1] if second[1:] else None)
        other = argparse.Namespace(**{**vars(args), **files, 'cfg_options': None})
        inferencer = build_inferencer(other, show_progress=False)
        models.append(PageModel(title(*second), inferencer, limits, worker))
    return models


def main() -> int:
    sys.path += [str(HERE / folder) for folder in ('app', 'analysis')]
    from limits import read_limits

    args = parse_args()
    limits = read_limits(args)
    if not find_spec('gradio'):
        raise ValueError("expected gradio, but it is not installed; pip install 'code_mm[app]'")
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    models = build_models(args, limits)

    from examples import photo_examples, shapes_examples
    from page import build_page, launch

    with tempfile.TemporaryDirectory(prefix='code_mm_page_') as folder:
        shapes = 'shapes' in models[0].title
        examples = shapes_examples(Path(folder)) if shapes else photo_examples()
        own = args.classes != WORDS or not examples
        words = ', '.join(models[0].inferencer.query().words) if own else examples[0][1]
        page = build_page(models, examples, words)
        address = launch(
            page, limits, server_name=args.host, server_port=args.port, prevent_thread_lock=True
        )
        print(f'{address}  (Ctrl+C ends it)')
        page.block_thread()
    return 0


if __name__ == '__main__':
    run_or_explain(main)
