"""Exports a model to ONNX, to segment without torch and OpenMMLab (docs/deployment.md).

Writes OUT/image.onnx (image and class embeddings in, scores out; batch, height, width and number
of classes are free), OUT/text.onnx (token ids in, class embeddings out) and, with --classes,
OUT/classes.npz with names and embeddings, so that no tokenizer is needed.

Example:
    python tools/export_onnx.py configs/eval/code_vit-b16_ade20k.py CHECKPOINT --out exported \
        --classes "cat, grey sofa"
    python tools/onnx_segment.py photo.jpg exported --out labels.png
"""

import argparse
import json
import sys
from pathlib import Path

from mmengine.config import DictAction
from run_or_explain import run_or_explain

sys.path.insert(0, str(Path(__file__).resolve().parent / 'model_converters'))
LARGEST = 2_000_000_000  # bytes of one ONNX file, protobuf's limit


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the model')
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint; by default the weights that the config names'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for the files')
    parser.add_argument('--parts', nargs='+', choices=('image', 'text'), default=('image', 'text'))
    parser.add_argument(
        '--classes',
        help='"cat, grey sofa, car|automobile" (| parts synonyms), or a .txt file, one name a line',
    )
    parser.add_argument(
        '--fold', action='store_true', help='put --classes into image.onnx; it takes no others'
    )
    parser.add_argument(
        '--labels', action='store_true', help='label maps in place of scores; not for windows'
    )
    parser.add_argument(
        '--pamr',
        action=argparse.BooleanOptionalAction,
        help='whether masks are refined; default: as the config has it',
    )
    parser.add_argument(
        '--background',
        action=argparse.BooleanOptionalAction,
        help='whether pixels that fit no class become background; default: as the config has it',
    )
    parser.add_argument(
        '--background-threshold', type=float, help='score in (0, 1) that a class must reach'
    )
    parser.add_argument(
        '--check', action='store_true', help='hold the files against torch: differences, times'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override keys of the config, key=value'
    )
    return parser.parse_args()


def load(args: argparse.Namespace):
    """The model in evaluation mode, as it is to be exported."""
    from onnx_parts import GatheringPAMR

    from code_mm.apis.load_model import load_config, load_zero_shot_model
    from code_mm.engine.config_check import check_options
    from code_mm.models.post_processing import PAMR

    cfg = load_config(args.config)
    check_options(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    head = cfg.model.decode_head
    if args.pamr is False:
        head['post_processor'] = None
    elif args.pamr and not head.get('post_processor'):
        head['post_processor'] = dict(type='PAMR')
    model = load_zero_shot_model(cfg, args.checkpoint)
    pamr = model.decode_head.post_processor
    if isinstance(pamr, PAMR):
        model.decode_head.post_processor = GatheringPAMR(pamr)
    return model


def ask(model, args: argparse.Namespace) -> None:
    """Let the model look for the classes, or for whatever comes, with or without background."""
    from code_mm.apis.class_query import make_query
    from code_mm.vocabulary import ClassNameFile

    classes = args.classes
    if classes and Path(classes).suffix.lower() in ('.txt', '.csv'):
        classes = list(ClassNameFile.read(classes).names)
    configured = model.background_threshold
    # without names: any two, for the threshold
    query = make_query(classes or 'a, b', args.background, args.background_threshold, configured)
    query.ask(model)


def settings(model) -> dict:
    """What a caller has to do to an image: resize it, and look at it in windows."""
    from code_mm.apis.input_images import ImagePipeline

    steps = ImagePipeline(model.cfg).steps
    resize = next((step for step in steps if step['type'].endswith('Resize')), {})
    if resize and not (resize.get('keep_ratio') and resize.get('scale')):
        print(f'image.onnx does not say how to resize: {resize}', file=sys.stderr)
        resize = {}
    test_cfg = model.prediction_settings
    slide = test_cfg.mode == 'slide'
    return dict(
        scale=resize.get('scale'),
        crop_size=test_cfg.crop_size if slide else None,
        stride=test_cfg.stride if slide else None,
        background_threshold=model.background_threshold,
    )


def write(part, examples_of, output: str, metadata: dict, path: Path, others: tuple) -> None:
    """Export a part; then hold it against torch on inputs of ``others``' sizes."""
    from onnx_parts import compare, to_onnx

    from code_mm.atomic_write import atomic_write

    size = sum(t.nbytes for t in (*part.parameters(), *part.buffers()))
    if size > LARGEST:
        raise ValueError(
            f'expected a model below {LARGEST / 1e9:.0f} GB, which one ONNX file may hold, but '
            f'got {size / 1e9:.1f} GB'
        )
    metadata = {name: json.dumps(value) for name, value in metadata.items()}
    program = to_onnx(part, *examples_of(part), output, metadata)
    with atomic_write(path, '.onnx') as unfinished:
        program.save(unfinished, external_data=False)
    inputs = ', '.join(f'{i.name} {i.shape}' for i in program.model.graph.inputs)
    print(f'{path}: {path.stat().st_size / 1e6:.1f} MB; {inputs} -> {output}')
    for sizes in others:
        inputs, _ = examples_of(part, **sizes)
        difference, torch_s, onnx_s = compare(part, inputs, path)
        shapes = ', '.join(f'{name} {tuple(value.shape)}' for name, value in inputs.items())
        print(
            f'  {shapes}: differs by {difference:.1g}; {onnx_s:.2f} s in onnxruntime, '
            f'{torch_s:.2f} s in torch'
        )


def write_classes(model, path: Path) -> None:
    import numpy as np
    from onnx_parts import numbered

    from code_mm.atomic_write import atomic_write

    found = model.vocabulary
    arrays = dict(
        names=np.array(found.names),
        synonyms=numbered(found.synonyms),
        embeddings=found.embeddings.numpy(),
    )
    if found.template_embeddings is not None:
        arrays['template_embeddings'] = found.template_embeddings.numpy()
    with atomic_write(path, '.npz') as unfinished:
        np.savez(unfinished, **arrays)
    print(f'{path}: {", ".join(found.names)}')


def main() -> None:
    args = parse_args()
    if args.fold and not args.classes:
        raise ValueError('expected --classes beside --fold: the classes that are put in')
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError('expected the packages of pip install code_mm[onnx]') from error
    from onnx_parts import ImagePart, TextPart, image_examples, text_examples

    model = load(args)
    ask(model, args)
    args.out.mkdir(parents=True, exist_ok=True)
    images = dict(batch=1, patches=(27, 27), classes=21), dict(batch=3, patches=(13, 20), classes=2)
    texts = dict(phrases=['grey sofa', 'x'] * 10), dict(phrases=['cat'])
    images, texts = (images, texts) if args.check else ((), ())
    if 'image' in args.parts:
        told = settings(model)
        if args.fold:
            told['names'] = model.class_names
        output = 'labels' if args.labels else 'scores'
        part = ImagePart(model, args.labels, model.vocabulary if args.fold else None)
        write(part, image_examples, output, told, args.out / 'image.onnx', images)
    if 'text' in args.parts:
        prompt, mix = model.noun_prompt, model.decode_head.knowledge_preserving
        if prompt is not None:
            told = dict(contexts=prompt.num_contexts)
            name = args.out / 'text.onnx'
            write(TextPart(model, prompt), text_examples, 'embeddings', told, name, texts)
        if prompt is None or mix is not None:
            told = dict(templates=model.templates if mix is None else mix.templates)
            name = args.out / ('text.onnx' if prompt is None else 'text_templates.onnx')
            write(TextPart(model), text_examples, 'embeddings', told, name, texts)
    if args.classes and not args.fold:
        write_classes(model, args.out / 'classes.npz')


if __name__ == '__main__':
    run_or_explain(main)
