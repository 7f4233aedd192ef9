"""Golden cases 0 and 6 to 11: tokens, labels, CLIP's towers, noun prompts, masks of words."""

import pytest
import torch
from released_model import build_released_model, clip_sizes
from tiny_model import Step

from code_mm.models.losses import knowledge_guided_loss
from code_mm.nouns import token_labels
from code_mm.ops import l2_normalize
from code_mm.registry import MODELS
from code_mm.tokenizers import CLIPTokenizer
from code_mm.vocabulary import get_templates

TOKENIZER = CLIPTokenizer()


def test_ids_of_every_string_at_both_context_lengths(golden):
    case = golden.case('06_tokenizer')
    tensors, constants = golden.tensors(case), case['constants']
    for name, length in (('ids', 'context'), ('ids_ctx61', 'context_for_prompted')):
        ids = TOKENIZER.tokenize(case['strings'], constants[length])
        rows = zip(case['strings'], ids, tensors[name], strict=True)
        assert not [text for text, row, expected in rows if not row.equal(expected)]
    start, _, *rest = TOKENIZER.tokenize('a', 5)[0].tolist()
    assert (start, rest) == (constants['sos'], [constants['eos'], *[constants['pad']] * 2])


def test_labels_of_every_caption(golden):
    case = golden.case('07_pseudo_labels')
    tensors = golden.tensors(case)
    length = tensors['labels'].shape[1]
    for row, text in enumerate(case['strings']):
        ids = TOKENIZER.tokenize(text['caption'], length)[0]
        golden.assert_close(ids, tensors['caption_ids'][row], case, what='caption_ids')
        labels = token_labels(ids, text['all_nouns'], text['selected'], TOKENIZER)
        golden.assert_close(labels, tensors['labels'][row], case, what=str(text))


@pytest.fixture(scope='module')
def clip(golden):
    checkpoint = str(golden.path(golden.case('clip.safetensors')['file']))
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    model = MODELS.build(dict(type='CLIP', **clip_sizes(golden.index), init_cfg=init_cfg))
    model.init_weights()
    return model.eval()


def test_image_tower(golden, clip):
    entry = golden.case('08_clip')
    expected = golden.tensors(entry)
    sizes = [name.removesuffix('.image') for name in expected if name.endswith('.image')]
    assert sizes
    for size in sizes:
        image = expected[f'{size}.image']
        trunk = clip.trunk(image)
        hidden = clip.image_tail().last_block(trunk)
        checks = dict(
            image_embedding=clip.encode_image(image),
            spatial_prelnproj=hidden,
            spatial_projected=clip.dense(trunk),
        )
        for name, value in checks.items():
            golden.assert_close(value, expected[f'{size}.{name}'], entry, what=f'{size} {name}')
        last = golden.index['tiny_clip']['vision_layers'] - 1
        before = expected[f'{size}.block{last - 1}_hidden_LND'][1:].transpose(0, 1)
        golden.assert_close(trunk.tokens, before, entry, what=f'{size} trunk')
        after = expected[f'{size}.block{last}_hidden_LND'][1:].transpose(0, 1)
        golden.assert_close(hidden, trunk.to_map(after), entry, what=f'{size} last block')


def test_text_tower(golden, clip):
    entry = golden.case('08_clip')
    expected = golden.tensors(entry)
    ids = clip.tokenize(entry['strings'])
    assert ids.equal(expected['text.ids'])
    assert (clip.text_lengths(ids) - 1).equal(expected['text.eos_index'])
    golden.assert_close(clip.encode_text(ids), expected['text.embedding'], entry)
    embed = clip.encode_words(clip.embed_tokens(ids), clip.text_lengths(ids))
    golden.assert_close(embed, expected['text.embedding_from_word_embeddings'], entry)
    last = golden.index['tiny_clip']['transformer_layers'] - 1
    hidden = clip.hidden_states(ids).transpose(0, 1)
    golden.assert_close(hidden, expected[f'text.block{last}_hidden_LND'], entry)


@pytest.fixture
def model(golden):
    return build_released_model(golden.index, golden.release)


def test_noun_prompts(golden, model):
    entry = golden.case('09_noun_prompts')
    expected, strings = golden.tensors(entry), entry['strings']
    length = golden.index['tiny_clip']['context_length']
    backbone = model.backbone
    ids = backbone.tokenize(strings['flat'], length - entry['constants']['n_ctx'])
    assert ids.equal(expected['ids_ctx61'])
    golden.assert_close(model.noun_prompt.contexts, expected['ctx'], entry)
    nouns = model.noun_prompt(ids, backbone)
    golden.assert_close(nouns, expected['embedding'], entry)

    sentences = backbone.tokenize(strings['kg_sentences'])
    assert sentences.equal(expected['kg_sentence_ids'])
    templates = get_templates('imagenet')
    pairs = zip(strings['kg_template_indices'], strings['flat'], strict=False)
    assert strings['kg_sentences'] == [templates[i].format(noun) for i, noun in pairs]
    guide = l2_normalize(backbone.encode_text(sentences))
    golden.assert_close(guide, expected['kg_embedding'], entry)
    loss = knowledge_guided_loss(nouns[: len(guide)], guide, 'cosine')
    golden.assert_close(loss, expected['kg_loss'], entry)
    (gradient,) = torch.autograd.grad(loss, model.noun_prompt.contexts)
    golden.assert_close(gradient, expected['kg_grad_ctx'], entry)


@pytest.mark.parametrize('variant', ['J1', 'J2', 'J3'])
def test_word_masks_and_loss(golden, model, variant):
    entry = golden.case('10_text_masks')
    expected = golden.tensors(entry)
    if f'{variant}.noun_emb' not in expected:
        pytest.skip(f'the golden folder has no variant {variant}')
    nouns = expected[f'{variant}.noun_emb'].clone().requires_grad_()
    segmenter = model.co_decomposition.text_segmenter
    hidden = expected['text_hidden_embs'].transpose(0, 1)
    words = segmenter(hidden)
    golden.assert_close(words.transpose(0, 1), expected['dense_text_emb_LND'], entry)
    logits = segmenter.logits(words, nouns)
    golden.assert_close(logits, expected[f'{variant}.logits_B_J1_L'], entry)
    masks = segmenter.masks(logits)
    golden.assert_close(masks, expected[f'{variant}.probs_JB_L'], entry)
    labels = expected[f'{variant}.labels']
    step = Step(
        captions=Step(token_labels=labels),
        word_logits=logits,
        word_positions=torch.ones_like(labels, dtype=torch.bool),
    )
    loss = model.co_decomposition.losses['word_segmentation'](step)
    weight = golden.index['model_constants']['w_tseg']
    golden.assert_close(loss / weight, expected[f'{variant}.tseg_loss'], entry)
    (loss / weight).backward()
    golden.assert_close(nouns.grad, expected[f'{variant}.grad_noun_emb'], entry)
    golden.assert_close(segmenter.scale.grad, expected[f'{variant}.grad_text_mask_w'], entry)
    golden.assert_close(segmenter.bias.grad, expected[f'{variant}.grad_text_mask_b'], entry)


def test_highlighted_texts(golden, model):
    entry = golden.case('10_text_masks')
    expected = golden.tensors(entry)
    backbone, prompt = model.backbone, model.co_decomposition.word_prompt
    ids = backbone.tokenize(entry['strings']['captions'])
    mask = expected['highlight.mask_JB_L'].clone().requires_grad_()
    words = prompt(backbone.embed_tokens(ids), mask, backbone.tokenizer.word_positions(ids))
    golden.assert_close(words[:2].transpose(0, 1), expected['highlight.tokens_LND'], entry)
    lengths = backbone.text_lengths(ids).repeat(len(mask) // len(ids))
    embed = l2_normalize(backbone.encode_words(words, lengths))
    golden.assert_close(embed, expected['highlight.embedding'], entry)
    (embed * expected['highlight.weights']).sum().backward()
    golden.assert_close(mask.grad, expected['highlight.grad_mask'], entry)
    gradient = prompt.words.grad[:, None]
    golden.assert_close(gradient, expected['highlight.grad_bg_text'], entry)
