"""Segments photos, folders and videos into classes that you name.

Writes overlays with legend (OUT/vis), label maps (OUT/pred, PNG whose values are labels, with
palette) and, with --json, masks in COCO's run-length encoding (OUT/json); of a video one file per
frame, and OUT/vis/NAME.mp4. A run that was stopped goes on where it was; --overwrite begins anew.

Example:
    python tools/segment.py photo.jpg --classes "cat, grey sofa" --out out/
"""

import argparse
import sys
from pathlib import Path

from model_options import add_model_options, build_inferencer, run_or_explain

VIDEO_SUFFIXES = {'.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm'}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('inputs', nargs='+', help='images, videos, folders of these')
    add_model_options(parser)
    parser.add_argument('--out', default='segmented', help='folder for the results')
    parser.add_argument(
        '--background-threshold', type=float, help='score in (0, 1) that a class must reach'
    )
    parser.add_argument(
        '--background',
        action=argparse.BooleanOptionalAction,
        help='whether pixels that fit no class become background; default: as the config has it',
    )
    parser.add_argument('--json', action='store_true', help='write masks as COCO RLE, too')
    parser.add_argument('--opacity', type=float, default=0.6, help='of the colours, 0 to 1')
    parser.add_argument('--overwrite', action='store_true', help='do not keep earlier results')
    return parser.parse_args()


def settings_of(args: argparse.Namespace, query) -> dict:
    """All that the label maps depend on."""
    checkpoint = args.checkpoint and Path(args.checkpoint).resolve()
    return dict(
        classes=list(query.names),
        background_threshold=query.background_threshold,
        config=str(Path(args.config).resolve()),
        cfg_options=str(args.cfg_options or {}),
        checkpoint=checkpoint and str(checkpoint),
        checkpoint_modified=checkpoint and int(checkpoint.stat().st_mtime),
        shorter_side=args.shorter_side,
    )


def split_inputs(inputs: list[str]) -> tuple[list, list[Path]]:
    """Images and videos, those of folders among them."""
    from code_mm.apis.input_images import list_images

    images, videos = [], []
    for path in map(Path, inputs):
        if not path.exists():
            raise FileNotFoundError(f'expected an image, a video or a folder, not {str(path)!r}')
        if not path.is_dir():
            (videos if is_video(path) else images).append(path)
            continue
        found = [file for file in sorted(path.iterdir()) if is_video(file)]
        videos += found
        if not found or len(found) < len(list(path.iterdir())):
            images += [image.source for image in list_images(path)]
    return images and list_images(images), videos


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def segment(inferencer, query, args, images, names: list[str], what: str, video=False) -> tuple:
    """Images or frames that are not done yet: their shares, and why some could not be read."""
    from rich.progress import track

    from code_mm.apis.results import ResultFolders

    json = 'json' if args.json else ''
    folders = ResultFolders(args.out, json=json, vis_suffix='.jpg' if video else '.png')
    done = {name for name in names if not args.overwrite and folders.complete(name)}
    if done:
        print(f'{len(done)} of {len(names)} {what} are done already (--overwrite)')
    todo = (image for image in images if image.name not in done)
    shares, failed = [], {}
    work = inferencer.segment(todo, query, args.batch_size, failed=failed)
    for result in track(work, what, len(names) - len(done)):
        folders.write(result, result.overlay(args.opacity, whole_legend=video))
        shares.append(result.shares)
    return shares, failed


def segment_video(inferencer, query, args, path: Path) -> tuple:
    """A label map and an overlay per frame, then a video of the overlays."""
    import mmcv

    from code_mm.apis.input_images import InputImage

    video = mmcv.VideoReader(str(path))
    if not video.opened or not video.width:
        raise ValueError(f'expected a video, but OpenCV cannot read {str(path)!r} as one')
    names = [f'{path.stem}/{number:06d}' for number in range(video.frame_cnt)]
    frames = (InputImage(f'{path.stem}/{number:06d}', frame) for number, frame in enumerate(video))
    found = segment(inferencer, query, args, frames, names, f'frames of {path}', video=True)
    overlays = Path(args.out) / 'vis' / path.stem
    joined = overlays.with_name(f'{path.stem}.mp4')
    rate = video.fps if 0 < video.fps < 1000 else 25.0  # where the file does not say
    mmcv.frames2video(str(overlays), str(joined), rate, 'mp4v', show_progress=False)
    if not joined.is_file() or not joined.stat().st_size:
        raise OSError(f'OpenCV could not write {joined}; the frames are in {overlays}')
    print(f'video: {joined}')
    return found


def print_shares(shares: list, names) -> None:
    from rich import print as rich_print
    from rich.table import Table

    from code_mm.visualization.overlay import share_text

    if not shares:
        return
    table = Table('class', 'share of all pixels', 'images with it')
    for name in names:
        own = [one[name] for one in shares]
        found = sum(share > 0 for share in own)
        table.add_row(name, share_text(sum(own) / len(own)), f'{found} of {len(own)}')
    rich_print(table)


def main() -> int:
    args = parse_args()
    from code_mm.apis.results import claim_folder

    images, videos = split_inputs(args.inputs)
    inferencer = build_inferencer(
        args, background=args.background, background_threshold=args.background_threshold
    )
    query = inferencer.query()
    claim_folder(args.out, settings_of(args, query), args.overwrite)
    shares, failed = [], {}
    if images:
        names = [image.name for image in images]
        shares, failed = segment(inferencer, query, args, images, names, 'images')
    for path in videos:
        shares_of_frames, broken = segment_video(inferencer, query, args, path)
        shares += shares_of_frames
        failed.update(broken)
    print_shares(shares, query.names)
    print(f'results: {args.out}')
    for name, reason in failed.items():
        print(f'not read: {name}: {reason}', file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    run_or_explain(main)
