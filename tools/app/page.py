"""The page itself: tabs, controls and what happens when they are used."""

import functools
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr
import numpy as np
from check_classes import ADVICE
from limits import Limits
from page_model import Answer, Decomposition, PageModel
from pictures import CSS, figure, figures, notes
from run_or_explain import explain

from code_mm.apis.results import ResultFolders

SHOWN = 1024  # pixels of the longer side on the page; files are of the whole size
KEPT = 3600  # seconds
ALL = 'all nouns'
INTRODUCTION = """# Segment images with your own words
Name what to look for, parted by commas; `|` parts synonyms: `cat|kitten, grey sofa`."""
ABOUT_PAIRS = 'Most alike to this model: {}. '
# of this machine: the themes' own would come from another one
FONTS = dict(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'])


def build_page(models: Sequence[PageModel], examples: Sequence[tuple], words: str) -> gr.Blocks:
    """The page.

    Args:
        models (Sequence[PageModel]): The first is used; a second one is compared with it.
        examples (Sequence[tuple]): Image file, words and caption.
        words (str): Those that stand there at first.
    """
    page = gr.Blocks(title='code_mm', analytics_enabled=False, delete_cache=(600, KEPT))
    with page:
        gr.Markdown(INTRODUCTION)
        with gr.Tab('Segment'):
            _segment_tab(models[0], examples, words)
        with gr.Tab('Decompose'):
            _decompose_tab(models[0], examples)
        with gr.Tab('Compare'):
            _compare_tab(models, examples, words)
    return page


def launch(page: gr.Blocks, limits: Limits, **keys) -> str:
    """Serve the page, and nothing else of this machine; returns its address."""
    page.queue(max_size=limits.waiting, default_concurrency_limit=4)
    _, address, _ = page.launch(
        max_file_size=limits.bytes,
        state_session_capacity=limits.sessions,
        allowed_paths=[],
        share=False,
        ssr_mode=False,
        quiet=True,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        theme=gr.themes.Default(**FONTS),
        css=CSS,
        **keys,
    )
    return address


def _segment_tab(model: PageModel, examples: Sequence[tuple], words: str) -> None:
    answer = gr.State(None, time_to_live=KEPT)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            files = gr.Gallery(
                label='Images: drop, paste or pick',
                type='filepath',
                file_types=['image'],
                sources=['upload', 'clipboard'],
                columns=3,
                fit_columns=False,
                object_fit='contain',
                height=230,
                interactive=True,
                buttons=[],
                elem_id='images',
            )
            asked = gr.Textbox(words, label='Words', elem_id='words')
            start = gr.Button('Segment', variant='primary', elem_id='segment')
            background, threshold = _background(model)
            opacity = gr.Slider(0, 1, 0.5, step=0.05, label='Opacity', elem_id='opacity')
            save = gr.Button('Make files to download', elem_id='save')
            saved = gr.File(label='Files', file_count='multiple', visible=False, elem_id='files')
        with gr.Column(scale=3, min_width=280):
            shown = gr.HTML('', elem_id='shown')
    if examples:
        rows = [[[image], asked_for] for image, asked_for, _ in examples]
        gr.Examples(rows, [files, asked], label='Examples', cache_examples=False)

    looks = [background, threshold, opacity]

    @_in_sentences
    def segment(files, asked, background, threshold, opacity):
        """Segment images; the answer is a page in HTML."""
        found = model.segment([path for path, _ in files or []], asked)
        hidden = gr.File(value=None, visible=False)
        return found, _show(found, background, threshold, opacity), hidden

    @_in_sentences
    def look(found, background, threshold, opacity):
        return '' if found is None else _show(found, background, threshold, opacity)

    @_in_sentences
    def write(found, background, threshold, opacity):
        if found is None:
            raise ValueError('there is nothing to save yet; press Segment first')
        level = threshold if _with_background(found, background) else None
        with tempfile.TemporaryDirectory(prefix='code_mm_') as folder:
            files = write_files(folder, found, level, opacity)
            kept = [saved.move_resource_to_block_cache(file) for file in files]
        return gr.File(value=kept, visible=True)

    gr.on(
        [start.click, asked.submit],
        segment,
        [files, asked, *looks],
        [answer, shown, saved],
        api_name='segment',
        **NETWORK,
    )
    quick = dict(show_progress='hidden', trigger_mode='always_last', api_visibility='private')
    for control in looks:
        control.input(look, [answer, *looks], shown, **quick)
    save.click(write, [answer, *looks], saved, api_visibility='private')
    _only_uploads(files)


def _decompose_tab(model: PageModel, examples: Sequence[tuple]) -> None:
    if not model.decomposes:
        gr.Markdown(
            'This model finds regions only. Words of a caption are found by a CoDe that was '
            'trained: start the page with its `--config` and `--checkpoint`.'
        )
        return
    answer = gr.State(None, time_to_live=KEPT)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            file = _one_image('pair')
            caption = gr.Textbox(label='Caption', elem_id='caption')
            start = gr.Button('Decompose', variant='primary', elem_id='decompose')
            noun = gr.Radio([ALL], value=ALL, label='Region of', visible=False, elem_id='noun')
        with gr.Column(scale=3, min_width=280):
            drawn = gr.Image(
                label='Regions, and the words that belong to them',
                interactive=False,
                buttons=['download', 'fullscreen'],
                elem_id='drawn',
            )
    if examples:
        rows = [[image, said] for image, _, said in examples]
        gr.Examples(rows, [file, caption], label='Examples', cache_examples=False)

    @_in_sentences
    def decompose(file, caption):
        """Regions of an image and words of its caption; the answer is a picture."""
        found = model.decompose(file, caption)
        choices = gr.Radio([ALL, *dict.fromkeys(found.nouns)], value=ALL, visible=True)
        return found, found.draw(), choices

    @_in_sentences
    def alone(found: Decomposition | None, noun):
        return None if found is None else found.draw(None if noun == ALL else noun)

    gr.on(
        [start.click, caption.submit],
        decompose,
        [file, caption],
        [answer, drawn, noun],
        api_name='decompose',
        **NETWORK,
    )
    noun.input(alone, [answer, noun], drawn, show_progress='hidden', api_visibility='private')


def _compare_tab(models: Sequence[PageModel], examples: Sequence[tuple], words: str) -> None:
    if len(models) < 2:
        gr.Markdown(
            'There is one model only. Start the page with `--compare CONFIG`, or '
            '`--compare CONFIG CHECKPOINT`, to see a second one beside it.'
        )
        return
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            file = _one_image('compared')
            asked = gr.Textbox(words, label='Words', elem_id='compared_words')
            start = gr.Button('Compare', variant='primary', elem_id='compare')
        with gr.Column(scale=3, min_width=280):
            shown = gr.HTML('', elem_id='comparison')
    if examples:
        rows = [[image, asked_for] for image, asked_for, _ in examples]
        gr.Examples(rows, [file, asked], label='Examples', cache_examples=False)

    @_in_sentences
    def compare(file, asked):
        """Segment one image with two models, each at its own threshold; the answer is HTML."""
        parts = []
        for model in models:
            answer = model.segment([file] if file else [], asked)
            level = model.slider if _with_background(answer, model.threshold) else None
            parts.append(figure(answer.found[0].at(level, SHOWN), 0.5, model.title))
        return figures(parts)

    gr.on([start.click, asked.submit], compare, [file, asked], shown, api_name='compare', **NETWORK)


# One at a time: others wait in the queue, which is bounded and tells them their place.
NETWORK = dict(concurrency_id='network', concurrency_limit=1)


def _background(model: PageModel):
    background = gr.Checkbox(
        model.threshold is not None,
        label='Background: pixels that fit no word well',
        elem_id='background',
    )
    threshold = gr.Slider(
        0.01,
        0.99,
        model.slider,
        step=0.01,
        label='Threshold of the background',
        elem_id='threshold',
    )
    return background, threshold


def _one_image(name: str) -> gr.Image:
    image = gr.Image(
        label='Image: drop, paste or pick',
        type='filepath',
        sources=['upload', 'clipboard'],
        height=230,
        buttons=[],
        elem_id=name,
    )
    _only_uploads(image)
    return image


def _only_uploads(component) -> None:
    """Refuse addresses: gradio would fetch them, and no request is to leave this machine."""

    def refuse(fetch: Callable) -> Callable:
        @functools.wraps(fetch)
        def checked(path, *args, **keys):
            if '://' in str(path):
                raise gr.Error('an address is no image; upload the file', print_exception=False)
            return fetch(path, *args, **keys)

        return checked

    for name in ('move_resource_to_block_cache', 'async_move_resource_to_block_cache'):
        setattr(component, name, refuse(getattr(component, name)))


def _with_background(answer: Answer, wanted) -> bool:
    """A single word needs something beside it."""
    return bool(wanted) or len(answer.found[0].words) == 1


def _show(answer: Answer, background: bool, threshold: float, opacity: float) -> str:
    level = threshold if _with_background(answer, background) else None
    parts = [figure(one.at(level, SHOWN), opacity, one.name) for one in answer.found]
    said = [f'Not read: {name}: {why}' for name, why in answer.failed.items()]
    if not background and level is not None:
        said.append('One word alone is looked for against a background.')
    if answer.pairs:
        said.append(_about(answer.pairs))
    return figures(parts) + notes(said)


def _about(pairs: Sequence[tuple[str, str, float]]) -> str:
    """Which names are easily confused, as tools/check_classes.py advises."""
    limit = np.quantile(np.float32([value for *_, value in pairs]), 0.95)
    alike = [f'"{a}" and "{b}" ({value:.2f})' for a, b, value in pairs[:3] if value >= limit]
    told = ABOUT_PAIRS.format(', '.join(alike))
    return told + ADVICE.replace('\n', ' ').format(*pairs[0][:2])


def write_files(folder: str, answer: Answer, threshold: float | None, opacity: float) -> list[str]:
    """Overlay, label map and masks in COCO's run-length encoding of every image."""
    kinds, files = ('overlay', 'labels', 'masks'), []
    folders = ResultFolders(folder, *kinds)
    for one in answer.found:
        result = one.at(threshold)
        result.input = folders.place(result.input)
        folders.write(result, result.overlay(opacity))
    for kind in kinds:  # browsers save them all in one place
        for file in sorted(Path(folder, kind).iterdir()):
            files.append(str(file.rename(file.with_name(f'{file.stem}_{kind}{file.suffix}'))))
    return files


def _in_sentences(answer: Callable) -> Callable:
    """Mistakes become sentences on the page; what is no user's mistake goes to the terminal."""

    @functools.wraps(answer)
    def explained(*args):
        try:
            return answer(*args)
        except gr.Error:
            raise
        except (ValueError, TypeError) as error:
            said = explain(error)
            said = f'{said[:1].upper()}{said[1:]}.'
            raise gr.Error(said, print_exception=False) from error
        except Exception as error:
            traceback.print_exc()
            raise gr.Error(
                'something went wrong here; the terminal of tools/app.py says what',
                print_exception=False,
            ) from error

    return explained
