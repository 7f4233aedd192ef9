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
    limits = parser.add_argument_group('limits of one request')
    limits.add_argument('--max-bytes', type=int, default=20_000_000, help='of a file')
    limits.add_argument('--max-pixels', type=int, default=24_000_000, help='of all its images')
    limits.add_argument('--max-classes', type=int, default=100, help='words, with synonyms')
    limits.add_argument('--max-seconds', type=float, default=60, help='until the answer')
    limits.add_argument('--max-waiting', type=int, default=32, help='requests in the queue')
    limits.add_argument('--max-sessions', type=int, default=16, help='whose images are kept')
    return parser.parse_args()


def read_limits(args: argparse.Namespace):
    from page_model import Limits

    values = {key.removeprefix('max_'): value for key, value in vars(args).items() if 'max_' in key}
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f'expected --max-{name} > 0, but got {value}')
    return Limits(**values)


def build_models(args: argparse.Namespace, limits) -> list:
    from concurrent.futures import ThreadPoolExecutor

    from page_model import PageModel

    worker = ThreadPoolExecutor(1)
    inferencer = build_inferencer(args, show_progress=False)
    demo = args.config == str(DEMO_CONFIG)
    models = [PageModel(Path(inferencer.model.cfg.filename).stem, inferencer, limits, worker)]
    second = args.compare or ([str(MASKCLIP)] if demo else [])
    if len(second) > 2:
        raise ValueError(f'expected --compare CONFIG [CHECKPOINT], but got {len(second)} files')
    if second:
        files = dict(config=second[0], checkpoint=second[1] if second[1:] else None)
        other = argparse.Namespace(**{**vars(args), **files, 'cfg_options': None})
        inferencer = build_inferencer(other, show_progress=False)
        models.append(PageModel(Path(second[0]).stem, inferencer, limits, worker))
    return models


def main() -> int:
    args = parse_args()
    if not find_spec('gradio'):
        raise ValueError("expected gradio, but it is not installed; pip install 'code_mm[app]'")
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    sys.path += [str(HERE / folder) for folder in ('app', 'analysis')]
    limits = read_limits(args)
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
