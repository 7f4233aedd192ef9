"""tools/app.py: what it answers, within which limits, and the page in a real browser."""

import base64
import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from limits import Limits
from mmengine.config import Config
from page_model import Found, PageModel
from pictures import figure, notes
from PIL import Image
from tiny_model import code_config, tiny_code

from code_mm.apis import CoDeInferencer

CLASSES = 'cat|kitten, grey sofa, boat'
CAPTION = 'a cat sits near a boat'
LIMITS = Limits(bytes=100_000, pixels=40_000, classes=6, seconds=30, waiting=64, sessions=10)
PIPELINE = [
    dict(type='LoadNouns'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='LoadCaptionImage', min_size=8),
    dict(type='RandomResizedCrop', size=32),
    dict(type='TokenizeCaption', context_length=24, noun_context_length=20),
    dict(type='PackCaptionInputs'),
]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A tiny CoDe twice, eight images of several sizes and files that are none."""
    folder = tmp_path_factory.mktemp('place')
    config = code_config(
        background_threshold=0.45,
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[127.0] * 3, std=[60.0] * 3, bgr_to_rgb=True
        ),
    )
    test = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    train = dict(dataset=dict(type='CaptionShardsDataset', pipeline=PIPELINE))
    parts = dict(model=config, test_pipeline=test, train_dataloader=train)
    Config(dict(default_scope='mmseg', **parts)).dump(folder / 'tiny.py')
    for seed in range(2):
        torch.save({'state_dict': tiny_code(seed).state_dict()}, folder / f'tiny_{seed}.pth')
    rng = np.random.default_rng(0)
    for number in range(8):
        image = rng.integers(0, 256, (40 + number, 56, 3), np.uint8)
        Image.fromarray(image).save(folder / f'{number}.png')
    Image.fromarray(np.zeros((10, 50, 3), np.uint8)).save(folder / 'line.png')
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / 'dot.png')
    (folder / 'text.png').write_text('no image')
    Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(folder / 'wide.png')
    noise = rng.integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(folder / 'heavy.png')
    return folder


def inferencer(place, seed=0, **keys):
    weights = place / f'tiny_{seed}.pth'
    return CoDeInferencer(
        place / 'tiny.py', weights, 'cpu', shorter_side=24, show_progress=False, **keys
    )


@pytest.fixture(scope='module')
def models(place):
    worker = ThreadPoolExecutor(1)
    pairs = (('first', 0), ('second', 1))
    yield [PageModel(name, inferencer(place, seed), LIMITS, worker) for name, seed in pairs]
    worker.shutdown()


@pytest.fixture
def calls(models, monkeypatch):
    """Counts how often the first model's network runs."""
    found, model = [], models[0].inferencer.model
    run = model.encode_decode
    monkeypatch.setattr(model, 'encode_decode', lambda *args: found.append(1) or run(*args))
    return found


@pytest.mark.parametrize('threshold', [None, 0.3, 0.45, 0.6])
def test_labels_are_the_inferencers_without_a_second_run(place, models, calls, threshold):
    keys = dict(background=False) if threshold is None else dict(background_threshold=threshold)
    expected = inferencer(place)(str(place / '1.png'), classes=CLASSES, **keys)
    (found,) = models[0].segment([str(place / '1.png')], CLASSES).found
    assert len(calls) == 1
    result = found.at(threshold)
    np.testing.assert_array_equal(result.labels, expected['predictions'])
    assert result.query.names == expected['classes'] and len(calls) == 1
    assert len(np.unique(result.labels)) > 1 or threshold == 0.6


def test_a_smaller_picture_has_the_pixels_of_the_large_one():
    label = np.arange(12, dtype=np.uint16).reshape(3, 4).repeat(100, 0).repeat(100, 1)
    image = np.zeros((300, 400, 3), np.uint8)
    found = Found('a', image, tuple('abcdefghijkl'), np.ones((300, 400), np.float32), label)
    small = found.at(0.5, longest=40)
    expected = 1 + np.arange(12).reshape(3, 4).repeat(10, 0).repeat(10, 1)
    np.testing.assert_array_equal(small.labels, expected)
    assert small.image.shape == (30, 40, 3) and found.at(0.5).image.shape == (300, 400, 3)


def test_what_cannot_be_read_is_said_and_the_others_are_done(place, models):
    names = ('text.png', 'wide.png', 'heavy.png', '0.png')
    answer = models[0].segment([str(place / name) for name in names], CLASSES)
    assert [one.name for one in answer.found] == ['0']
    said = ('no image that can be read', '0.04 million pixels', 'a file may have 0.1 MB')
    assert all(text in why for text, why in zip(said, answer.failed.values(), strict=True))
    many = [str(place / f'{number}.png') for number in range(8)] * 3
    answer = models[0].segment(many, CLASSES)
    pixels = sum(one.label.size for one in answer.found)
    assert 35_000 < pixels <= LIMITS.pixels
    assert all('pixels in all' in why for why in answer.failed.values())


@pytest.mark.parametrize(
    'files, classes, said',
    [
        ([], CLASSES, 'there is no image yet'),
        (['0.png'], '', 'empty name'),
        (['0.png'], 'cat, cat', 'twice'),
        (['0.png'], 'cat ' * 40, 'where 19 fit|where 18 fit'),
        (['0.png'], 'a|b|c|d, e, f, g', 'at most 6 words at a time, .* these are 7'),
        (['text.png'], CLASSES, 'text.png: this is no image'),
    ],
)
def test_mistakes_are_sentences(place, models, files, classes, said):
    with pytest.raises(ValueError, match=said):
        models[0].segment([str(place / name) for name in files], classes)


def test_a_request_ends_in_time_and_the_next_one_is_answered(place, monkeypatch):
    with ThreadPoolExecutor(1) as worker:
        model = PageModel('slow', inferencer(place), Limits(seconds=0.2), worker)
        go_on, run = threading.Event(), model.inferencer.segment
        monkeypatch.setattr(
            model.inferencer, 'segment', lambda *args, **keys: go_on.wait() and run(*args, **keys)
        )
        files = [str(place / '0.png')]
        for _ in range(2):  # the second one waits for the first one's network
            with pytest.raises(ValueError, match=r'longer than 0\.2 seconds'):
                model.segment(files, CLASSES)
        go_on.set()
        model.limits = Limits(seconds=30)
        assert len(model.segment(files, CLASSES).found) == 1


def test_decomposition_and_one_noun_alone(place, models, monkeypatch):
    found = models[0].decompose(str(place / '0.png'), CAPTION)
    assert found.nouns == ['cat', 'boat'] and found.regions.shape[0] == found.words.shape[0] == 2
    whole, alone = found.draw(), found.draw('boat')
    assert whole.shape == alone.shape and (whole != alone).any()
    found.regions[0], found.words[0] = 0, 0
    np.testing.assert_array_equal(found.draw(), alone)
    for file, caption, said in (
        ('0.png', ' ', 'no caption yet'),
        ('0.png', 'cat ' * 300, 'may have 1000 characters'),
        ('0.png', 'of and', 'expected nouns'),
        ('text.png', CAPTION, 'no image'),
        ('line.png', CAPTION, '4 times as long as wide'),
        ('dot.png', CAPTION, 'but dot.png is none: small_image'),
    ):
        with pytest.raises(ValueError, match=said):
            models[0].decompose(str(place / file), caption)
    monkeypatch.setattr(models[1].inferencer.model.co_decomposition, 'text_segmenter', None)
    with pytest.raises(ValueError, match='second has no text segmenter'):
        models[1].decompose(str(place / '0.png'), CAPTION)


def test_a_figure_names_its_regions(place, models):
    image = np.zeros((20, 30, 3), np.uint8)
    label, best = np.zeros((20, 30), np.uint16), np.full((20, 30), 0.2, np.float32)
    best[5:15, 5:25], label[5:15, 15:25] = 0.9, 1
    best[8:12, 8:12] = 0.2  # a hole
    names = ('<cat>', 'dog')
    page = ElementTree.fromstring(figure(Found('a', image, names, best, label).at(0.5), 0.4, 'A&B'))
    told = {path.find('title').text: path for path in page.iter('path')}
    assert set(told) == {'<cat> 14 %', 'dog 17 %'}
    assert [text.strip() for text in page.find('figcaption').itertext()] == [
        'A&B',
        *('background 69 %', 'dog 17 %', '<cat> 14 %'),
    ]
    rings = [
        np.float32(re.findall(r'([\d.]+) ([\d.]+)', ring))
        for ring in told['<cat> 14 %'].get('d').split('Z')[:-1]
    ]
    painted = np.zeros((200, 300), np.uint8)
    cv2.fillPoly(painted, [(10 * ring).round().astype(np.int32) for ring in rings], 1)
    wanted = (best > 0.5) & (label == 0)
    centres = painted[5::10, 5::10].astype(bool)
    np.testing.assert_array_equal(centres, wanted)
    href = page.find('svg/image').get('href')
    picture = cv2.imdecode(
        np.frombuffer(base64.b64decode(href.split(',')[1]), np.uint8), cv2.IMREAD_COLOR
    )
    np.testing.assert_array_equal(picture, image)
    assert '&lt;b&gt;' in notes(['<b>'])


# --- the page itself


def test_the_tool_builds_what_its_options_say(place, run, monkeypatch):
    assert 'expected --max-pixels > 0, but got 0' in run('app', '--max-pixels', 0, status=2)
    gradio = pytest.importorskip('gradio', reason="gradio is not installed: pip install '.[app]'")
    import page

    built, files = {}, [place / 'tiny.py', place / 'tiny_0.pth']
    monkeypatch.setattr(gradio.Blocks, 'block_thread', lambda self: None)
    monkeypatch.setattr(page, 'launch', lambda *args, **keys: built.update(keys, of=args) or 'here')
    build = page.build_page
    monkeypatch.setattr(
        page, 'build_page', lambda *args: built.update(built_of=args) or build(*args)
    )
    options = ('--config', files[0], '--checkpoint', files[1], '--device', 'cpu')
    more = ('--classes', 'cat,dog', '--compare', files[0], place / 'tiny_1.pth', '--max-bytes', 5)
    assert 'here  (Ctrl+C ends it)' in run('app', *options, *more)
    models, examples, words = built['built_of']
    assert built['server_name'] == '127.0.0.1' and built['of'][1].bytes == 5
    assert words == 'cat, dog' and all(Path(image).is_file() for image, *_ in examples)
    weights = [model.inferencer.model.state_dict() for model in models]
    assert [model.title for model in models] == ['tiny, tiny_0', 'tiny, tiny_1']
    assert any((weights[0][key] != weights[1][key]).any() for key in weights[0])
    assert 'expected --compare' in run('app', *options, '--compare', 'a', 'b', 'c', status=2)


@pytest.fixture(scope='module')
def server(place, models):
    pytest.importorskip('gradio', reason="gradio is not installed: pip install 'code_mm[app]'")
    import gradio
    from page import build_page, launch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('GRADIO_TEMP_DIR', str(place / 'uploads'))
        patch.setenv('GRADIO_ANALYTICS_ENABLED', 'False')
        page = build_page(models, [(str(place / '3.png'), 'tree, house', CAPTION)], 'star, heart')
        address = launch(page, LIMITS, server_name='127.0.0.1', prevent_thread_lock=True)
        yield address
        page.close()
        gradio.close_all()


def test_fifty_requests_of_eight_people(place, models, server):
    from gradio_client import Client, handle_file
    from page import _show

    lists = [f'cat, word{number}, boat' for number in range(50)]
    files = [str(place / f'{number % 8}.png') for number in range(50)]

    def person(first):
        client, found = Client(server, verbose=False), {}
        for number in range(first, 50, 8):
            images = [dict(image=handle_file(files[number]), caption=None)]
            keys = dict(files=images, asked=lists[number], background=True, threshold=0.45)
            found[number] = client.predict(**keys, opacity=0.5, api_name='/segment')[0]
        return found

    answers = {}
    with ThreadPoolExecutor(8) as people:
        for found in people.map(person, range(8)):
            answers |= found
    assert sorted(answers) == list(range(50))
    for number, page in answers.items():
        expected = models[0].segment([files[number]], lists[number])
        assert page == _show(expected, True, 0.45, 0.5)


def test_nothing_of_this_machine_can_be_read(place, server):
    import httpx

    asked = []

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    elsewhere = ThreadingHTTPServer(('127.0.0.1', 0), Asked)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    secret = place / 'tiny.py'
    for path in (secret, place / '0.png', Path(__file__), '/etc/passwd'):
        assert httpx.get(f'{server}gradio_api/file={path}').status_code in (403, 404)
    for path in (str(place / '0.png'), f'http://127.0.0.1:{elsewhere.server_port}/0.png'):
        image = dict(path=path, url=path, meta={'_type': 'gradio.FileData'})
        images, looks = [dict(image=image, caption=None)], (True, 0.4, 0.5)
        for name, data in (
            ('segment', [images, CLASSES, *looks]),
            ('decompose', [image, CAPTION]),
            ('compare', [image, CLASSES]),
        ):
            queued = httpx.post(f'{server}gradio_api/call/{name}', json=dict(data=data))
            event = queued.json()['event_id']
            answer = httpx.get(f'{server}gradio_api/call/{name}/{event}', timeout=20).text
            assert answer.startswith('event: error')
            assert ('an address is no image' in answer) == path.startswith('http')
    assert not asked
    with open(place / 'heavy.png', 'rb') as heavy:
        sent = httpx.post(f'{server}gradio_api/upload', files=dict(files=heavy))
    assert sent.status_code == 413
    elsewhere.shutdown()


def test_files_are_those_of_segment(place, models, server, tmp_path):
    from page import write_files

    answer = models[0].segment([str(place / '0.png'), str(place / '1.png')], CLASSES)
    files = {Path(path).name: path for path in write_files(tmp_path, answer, 0.4, 0)}
    kinds = dict(overlay='png', labels='png', masks='json')
    assert set(files) == {f'{n}_{kind}.{end}' for n in range(2) for kind, end in kinds.items()}
    expected = answer.found[1].at(0.4)
    np.testing.assert_array_equal(np.asarray(Image.open(files['1_labels.png'])), expected.labels)
    described = json.loads(Path(files['1_masks.json']).read_text())
    assert described['made_from']['source'] is None
    assert described['segments'] == json.loads(json.dumps(expected.describe()['segments']))


# --- in a browser


@pytest.fixture(scope='module')
def browser(server):
    webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
    programs = [shutil.which('chromium'), shutil.which('chromedriver')]
    if not all(programs):
        pytest.skip('chromium and its driver are missing: apt-get install chromium chromium-driver')
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', dict(performance='ALL', browser='ALL'))
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    driver.set_window_size(1280, 1000)
    yield driver
    driver.quit()


@pytest.fixture
def visit(browser, server):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    class Visit:
        """What a person does on the page."""

        def open(self, query=''):
            browser.get(server + query)
            self.see('#words textarea, #words input')

        def all(self, selector):
            return browser.find_elements(By.CSS_SELECTOR, selector)

        def until(self, true):
            return WebDriverWait(browser, 20, 0.1).until(lambda _: true())

        def see(self, selector):
            return self.until(lambda: [e for e in self.all(selector) if e.is_displayed()])[0]

        def click(self, selector):
            self.until(lambda: [e for e in self.all(selector) if e.is_displayed()])
            browser.execute_script(
                'const e = [...document.querySelectorAll(arguments[0])]'
                '.find(e => e.offsetParent); e.scrollIntoView({block: "center"}); e.click()',
                selector,
            )

        def write(self, selector, text):
            field = self.see(selector)
            browser.execute_script('arguments[0].select()', field)
            field.send_keys(str(text))

        def upload(self, selector, *files):
            self.until(lambda: self.all(f'{selector} input[type=file]'))
            self.all(f'{selector} input[type=file]')[0].send_keys('\n'.join(map(str, files)))

        def tab(self, name):
            tabs = self.all('button[role=tab]')
            next(tab for tab in tabs if tab.text == name).click()

        def text(self, selector):
            return ' '.join(e.get_attribute('textContent') for e in self.all(selector))

        def page(self, selector):
            return browser.execute_script(
                'return document.querySelector(arguments[0])?.innerHTML', selector
            )

        def changes(self, selector, act):
            before = self.page(selector)
            act()
            self.until(lambda: self.page(selector) != before)

    return Visit()


def test_every_control_once(place, visit, browser, calls):
    visit.open()
    visit.upload('#images', place / '0.png', place / '1.png', place / 'text.png')
    visit.until(lambda: len(visit.all('#images img')) >= 2)
    visit.write('#words textarea, #words input', CLASSES)
    visit.click('#segment')
    visit.until(lambda: len(visit.all('#shown figure svg')) == 2)
    said = visit.text('#shown')
    assert 'Not read: text.png: this is no image' in said and '"cat|kitten"' in said
    assert 'background' in visit.text('#shown figcaption')
    assert re.search(r'(cat|sofa|boat).* %', visit.text('#shown path title'))
    assert len(calls) == 2
    visit.changes('#shown', lambda: visit.click('#background input'))
    assert 'background' not in visit.text('#shown figcaption')
    visit.changes('#shown', lambda: visit.click('#background input'))
    visit.changes('#shown', lambda: visit.write('#threshold input[type=number]', '0.6\n'))
    visit.changes('#shown', lambda: visit.write('#opacity input[type=number]', '0.9\n'))
    assert {e.get_attribute('fill-opacity') for e in visit.all('#shown path')} <= {'0.9'}
    assert len(calls) == 2  # the network did not run again
    visit.click('#save')
    visit.until(lambda: len(visit.all('#files a[href]')) >= 6)
    assert not [e for e in browser.get_log('browser') if 'is not defined' in e['message']]

    visit.tab('Decompose')
    visit.upload('#pair', place / '0.png')
    visit.until(lambda: visit.all('#pair img'))
    visit.write('#caption textarea, #caption input', CAPTION)
    visit.click('#decompose')
    visit.until(lambda: visit.all('#drawn img'))
    visit.changes('#drawn', lambda: visit.click('#noun input[value="boat"]'))

    visit.tab('Compare')
    visit.upload('#compared', place / '0.png')
    visit.until(lambda: visit.all('#compared img'))
    visit.write('#compared_words textarea, #compared_words input', 'cat, boat')
    visit.click('#compare')
    visit.until(lambda: len(visit.all('#comparison figure svg')) == 2)
    assert all(name in visit.text('#comparison b') for name in ('first', 'second'))

    messages = [json.loads(e['message'])['message'] for e in browser.get_log('performance')]
    sent = [m['params']['request']['url'] for m in messages if 'request' in m['params']]
    assert {url.split('/')[2] for url in sent if url.startswith('http')} == {
        browser.current_url.split('/')[2]
    }


def test_an_example_and_mistakes(place, visit):
    visit.open()
    visit.click('#segment')
    assert 'There is no image yet' in visit.see('.toast-body').text
    visit.open()
    visit.click('tr.tr-body')
    visit.until(lambda: visit.all('#images img'))
    visit.click('#segment')
    visit.see('#shown figure svg')
    assert 'tree' in visit.text('#shown')
    visit.open()
    visit.upload('#images', place / 'heavy.png')
    assert re.search('size', visit.see('.toast-body').text)


def test_two_people_at_once(place, visit, browser):
    visit.open()
    people = {browser.current_window_handle: '2'}
    browser.switch_to.new_window('tab')
    people[browser.current_window_handle] = '5'
    visit.open()
    for handle, name in people.items():
        browser.switch_to.window(handle)
        visit.upload('#images', place / f'{name}.png')
        visit.until(lambda: visit.all('#images img'))
    for handle in people:
        browser.switch_to.window(handle)
        visit.click('#segment')
    for handle, name in people.items():
        browser.switch_to.window(handle)
        visit.see('#shown figure svg')
        visit.changes('#shown', lambda: visit.write('#threshold input[type=number]', '0.2\n'))
        assert visit.text('#shown b') == name
    browser.close()
    browser.switch_to.window(next(iter(people)))


def test_a_phone_at_night(place, visit, browser):
    browser.set_window_size(390, 844)
    visit.open('?__theme=dark')
    visit.upload('#images', place / '0.png')
    visit.until(lambda: visit.all('#images img'))
    visit.click('#segment')
    visit.see('#shown figure svg')
    wide = browser.execute_script('return document.documentElement.scrollWidth - innerWidth')
    assert wide <= 0
    picture = cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), 1)
    legend = browser.execute_script(
        'return getComputedStyle(document.querySelector("#shown figcaption")).color'
    )
    assert picture[:, :5].mean() < 60 and min(map(int, re.findall(r'\d+', legend)[:3])) > 180
