"""Make the label maps of COCO-Object from COCO's instances_val2017.json.

The rule where objects overlap: coco_object_labels.py. Example:
    python tools/dataset_converters/coco_object.py data/coco_stuff164k --workers 8
"""

import argparse
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('root', type=Path, help='folder with images/val2017')
    parser.add_argument('--instances', help='default: ROOT/annotations/instances_SPLIT.json')
    parser.add_argument('--split', default='val2017', help='val2017 or train2017')
    parser.add_argument('--out', type=Path, help='default: ROOT/annotations/SPLIT')
    parser.add_argument('--workers', type=int, default=2, help='processes that paint')
    parser.add_argument('--overwrite', action='store_true', help='paint existing label maps again')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from coco_object_labels import write_coco_object_labels

    annotations = args.root / 'annotations'
    out = args.out or annotations / args.split
    instances = args.instances or annotations / f'instances_{args.split}.json'
    written, there = write_coco_object_labels(instances, out, args.workers, args.overwrite)
    print(f'{written} label maps written, {there} were there: {out}')
    print('Look at them: tools/dataset_converters/check_eval_data.py')


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
