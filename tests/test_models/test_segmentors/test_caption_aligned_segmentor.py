"""Labels and captions in one batch; every value against loops over single samples."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_model import CONTEXTS, LOSSES, SELECTED, SIZES, build, caption_samples, images

from code_mm.models.segmentors.caption_aligned_segmentor import CaptionAlignedSegmentor
from code_mm.registry import MODELS
from code_mm.tokenizers import tokenize

NAMES = ['star', 'boat', 'grass']
HEAD = dict(type='ZeroShotHead', in_channels=64, embed_dim=32, project=True, class_names=NAMES)
ALIGNMENT = dict(
    type='RegionWordAlignment',
    backbone=dict(type='CLIP', **SIZES),
    decode_head=dict(type='ZeroShotHead'),
    noun_prompt=dict(type='NounContextPrompt', num_contexts=CONTEXTS),
    text_segmenter=dict(type='TextSegmenter'),
    region_prompt=dict(type='RegionHighlightingPrompt', image_size=32),
    word_prompt=dict(type='WordHighlightingPrompt'),
    losses=LOSSES,
)


def config(head=None, alignment=None, **keys):
    return ConfigDict(
        type='CaptionAlignedSegmentor',
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            stem_channels=8,
            base_channels=8,
            out_indices=(3,),
            strides=(1, 1, 2, 1),
            norm_eval=True,
        ),
        decode_head={**HEAD, **(head or {})},
        alignment={**ALIGNMENT, **(alignment or {})},
        **keys,
    )


def tiny(**keys):
    model = build(config(**keys), 0).eval()
    to_mask = model.alignment.decode_head.similarity_to_mask
    # uniform noise of one half: a region is where the soft mask is over one half
    to_mask.sample_noise = lambda similarity: torch.full_like(similarity, 0.5)
    with torch.no_grad():
        to_mask.bias.zero_()  # about half of the image
    return model


def labels(seed=3):
    map_ = torch.randint(0, 3, (1, 32, 32), generator=torch.Generator().manual_seed(seed))
    map_[:, :8] = 255
    return map_


def labelled(sample=None, seed=3):
    sample = SegDataSample() if sample is None else sample
    sample.gt_sem_seg = PixelData(data=labels(seed))
    return sample


def mixed_batch():
    """Labels alone; a caption alone; both."""
    first, second = caption_samples()
    return images(3, 32, 32), [labelled(), first, labelled(second, seed=4)]


def slow_label_loss(model, image, maps):
    """Cross-entropy of scaled cosines with the class names, mean over labelled pixels."""
    text, prompt = model.alignment.backbone.text, model.alignment.noun_prompt
    length = SIZES['context_length'] - CONTEXTS
    names = torch.cat([prompt(tokenize([name], length), text) for name in NAMES]).detach()
    to_mask, total, count = model.decode_head.similarity_to_mask, 0.0, 0
    for picture, map_ in zip(image, maps, strict=True):
        features = pixel_embeddings(model, picture[None])[0]
        logits = torch.stack([(features * name[:, None, None]).sum(0) for name in names])
        logits = to_mask.scale * logits + to_mask.bias
        logits = F.interpolate(logits[None], (32, 32), mode='bilinear', align_corners=False)
        logits = logits[0].flatten(1).T
        keep = map_.flatten() != 255
        chosen = logits.log_softmax(1)[keep, map_.flatten()[keep]]
        total, count = total - chosen.sum(), count + len(chosen)
    return total / count


def pixel_embeddings(model, image):
    (features,) = model.backbone(image)
    weight, bias = (
        model.decode_head.projection.weight[:, :, 0, 0],
        model.decode_head.projection.bias,
    )
    return F.normalize((features.movedim(1, -1) @ weight.T + bias).movedim(-1, 1), dim=1)


def slow_alignment(model, image, samples):
    """Masks, highlighted regions and words, and InfoNCE, pair by pair (thesis Eqs. 3.3 to 3.7)."""
    part = model.alignment
    clip, text, to_mask = part.backbone, part.backbone.text, part.decode_head.similarity_to_mask
    regions, nouns, texts, areas = [], [], [], []
    for slot in range(len(SELECTED[0])):
        for picture, sample in zip(image, samples, strict=True):
            own = [part.noun_prompt(ids[None], text)[0] for ids in sample.noun_ids]
            nouns.append(own[slot])
            features = pixel_embeddings(model, picture[None])[0]
            similarity = (features * own[slot][:, None, None]).sum(0)
            soft = torch.sigmoid(to_mask.scale * similarity + to_mask.bias)
            areas.append(soft.mean())
            hard = F.interpolate((soft > 0.5).float()[None, None], (32, 32), mode='nearest')
            shown = hard * picture + (1 - hard) * part.region_prompt.image
            regions.append(clip.encode_image(shown)[0])
            # words: a softmax over no noun and every selected noun, at each position
            ids = sample.caption_ids[None]
            states = F.normalize(part.text_segmenter.transformer(text.hidden_states(ids)), dim=-1)
            cases = [torch.zeros(ids.shape[1])]
            segmenter = part.text_segmenter
            cases += [segmenter.scale * (states[0] @ noun) + segmenter.bias for noun in own]
            mask = torch.stack(cases).softmax(0)[slot + 1]
            end = int(ids.argmax())
            mask = torch.where((torch.arange(len(mask)) == 0), 1.0, mask)
            mask = torch.where((torch.arange(len(mask)) >= end), 1.0, mask)[:, None]
            words = mask * text.token_embedding(ids)[0] + (1 - mask) * part.word_prompt.words
            texts.append(text.encode_words(words[None], torch.tensor([end]))[0])
    return dict(
        region_word=part.losses['region_word'].loss_weight
        * slow_info_nce(regions, texts, part.losses['region_word'].scale()),
        region_image=part.losses['region_image'].loss_weight
        * slow_info_nce(regions, nouns, part.losses['region_image'].scale()),
        area=part.losses['area'].loss_weight * (torch.stack(areas).mean() - 0.25).abs(),
    )


def slow_info_nce(images_, texts, scale):
    total = 0.0
    for one, other in ((images_, texts), (texts, images_)):
        for i, query in enumerate(one):
            scores = [scale * F.cosine_similarity(query, key, dim=0) for key in other]
            total = total - torch.stack(scores).log_softmax(0)[i]
    return total / (2 * len(texts))


def test_a_mixed_batch_gives_the_losses_of_its_labels_and_of_its_captions():
    model = tiny()
    image, samples = mixed_batch()
    losses = model.loss(image, samples)
    expected = slow_label_loss(model, image[[0, 2]], [labels(3), labels(4)])
    torch.testing.assert_close(losses['decode.loss_ce'], expected, rtol=1e-4, atol=1e-5)
    expected = slow_alignment(model, image[1:], samples[1:])
    for name, value in expected.items():
        torch.testing.assert_close(
            losses[f'alignment.loss_{name}'], value, rtol=1e-4, atol=1e-5, msg=name
        )
    assert {name for name in losses if name.startswith('alignment.')} == {
        f'alignment.loss_{name}' for name in LOSSES
    }


def learning(model, losses):
    model.zero_grad()
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum()}
    return {name.split('.')[0] for name in moved}, moved


def test_a_batch_without_captions_is_ordinary_supervised_training():
    model = tiny()
    losses = model.loss(images(2, 32, 32), [labelled(), labelled(seed=4)])
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg'}
    parts, _ = learning(model, losses)
    assert parts == {'backbone', 'decode_head'}  # class names do not move the contexts


def test_a_batch_without_labels_has_a_label_loss_of_zero():
    model = tiny()
    losses = model.loss(images(2, 32, 32), caption_samples())
    assert losses['decode.loss_ce'] == 0 and losses['decode.loss_ce'].requires_grad
    assert 'decode.acc_seg' not in losses
    parts, moved = learning(model, losses)
    assert parts == {'backbone', 'decode_head', 'alignment'}
    assert 'alignment.noun_prompt.contexts' in moved and 'decode_head.projection.weight' in moved
    assert not any('alignment.backbone' in name for name in moved)  # CLIP is frozen


def test_class_names_follow_the_contexts():
    model = tiny()
    image, samples = images(1, 32, 32), [labelled()]
    model.loss(image, samples)
    with torch.no_grad():
        model.alignment.noun_prompt.contexts.add_(1.0)
    expected = slow_label_loss(model, image, [labels()])
    torch.testing.assert_close(model.loss(image, samples)['decode.loss_ce'], expected)


def test_images_are_resized_for_clip():
    model = tiny(alignment=dict(image_size=32))
    image, samples = images(2, 64, 64), caption_samples()
    features = model.decode_head.pixel_embeddings(model.extract_feat(image))
    small = F.interpolate(image, (32, 32), mode='bilinear', antialias=True)
    expected = tiny().alignment.loss(small, samples, features)
    found = model.alignment.loss(image, samples, features)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_any_code_config_may_be_the_alignment():
    part = tiny(alignment=dict(image_segmenter=dict(type='ImageSegmenter'))).alignment
    assert part.image_segmenter is None
    part._is_init = False
    part.init_weights()  # from CLIP, without a segmenter to start
    words = part.backbone.text.token_embedding(
        tokenize(['A photo of' + ' x' * CONTEXTS], CONTEXTS + 8)[:, 1 : 1 + CONTEXTS]
    )
    torch.testing.assert_close(part.noun_prompt.contexts.detach(), words[0].detach())


def test_hooks_find_losses_and_noun_prompt():
    model = tiny()
    assert model.losses is model.alignment.losses
    assert model.noun_prompt is model.alignment.noun_prompt


@pytest.mark.parametrize(
    ('keys', 'error', 'message'),
    [
        (dict(head=dict(embed_dim=16)), ValueError, 'embed_dim=32.*but got 16'),
        (
            dict(head=dict(text_encoder=dict(type='code_mm.CLIPTextEncoder', width=64, layers=1))),
            ValueError,
            'without text_encoder',
        ),
        (dict(alignment=dict(type='PAMR')), TypeError, 'RegionWordAlignment'),
    ],
)
def test_what_does_not_go_together_is_refused(keys, error, message):
    cfg = config(**keys)
    if keys.get('alignment', {}).get('type') == 'PAMR':
        cfg.alignment = dict(type='PAMR')
    with pytest.raises(error, match=message):
        MODELS.build(cfg)


def test_mistakes_in_the_data_are_named():
    model = tiny()
    empty = SegDataSample(metainfo=dict(img_path='a.jpg'))
    with pytest.raises(ValueError, match='jpg has neither'):
        model.loss(images(2, 32, 32), [labelled(), empty])
    with pytest.raises(ValueError, match='class_names, the names of the training labels'):
        tiny(head=dict(class_names=None)).loss(images(1, 32, 32), [labelled()])


def _losses_of_a_process(state, batches):
    """Losses and gradients of this process' batch, averaged as DistributedDataParallel does."""
    model = tiny()
    model.load_state_dict(state)
    image, samples = batches[dist.get_rank()]
    losses = model.loss(image, samples)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    for parameter in model.parameters():
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
    gradients = {n: p.grad / 2 for n, p in model.named_parameters() if p.requires_grad}
    return {k: v.detach() for k, v in losses.items()}, gradients


def test_processes_with_unequal_captions_stay_in_step(run_in_two_processes):
    """Two captions and one: each aligns one, as one process would the two of them."""
    model = tiny()
    first, second = caption_samples()
    both = labelled(second, seed=4)
    image = images(3, 32, 32)
    batches = [(image[:2], [first, both]), (image[2:], [caption_samples()[1]])]
    results = run_in_two_processes(_losses_of_a_process, model.state_dict(), batches)
    joined = model.alignment.loss(
        image[[0, 2]],
        [first, caption_samples()[1]],
        pixel_embeddings(model, image[[0, 2]]),
    )
    for name, value in joined.items():
        mean = sum(losses[f'alignment.{name}'] for losses, _ in results) / 2
        torch.testing.assert_close(mean, value.detach(), rtol=1e-4, atol=1e-5, msg=name)
    assert results[1][0]['decode.loss_ce'] == 0 and results[0][0]['decode.loss_ce'] > 0
    (sum(joined.values()) + slow_label_loss(model, image[1:2], [labels(4)]) / 2).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            for _, gradients in results:
                torch.testing.assert_close(
                    gradients[name], parameter.grad, rtol=1e-3, atol=1e-5, msg=name
                )


def test_a_process_without_captions_stops_the_alignment_of_all(run_in_two_processes):
    model = tiny()
    image = images(2, 32, 32)
    batches = [(image[:1], caption_samples()[:1]), (image[1:], [labelled()])]
    results = run_in_two_processes(_losses_of_a_process, model.state_dict(), batches)
    assert [set(losses) - {'decode.acc_seg'} for losses, _ in results] == [{'decode.loss_ce'}] * 2
    assert results[0][0]['decode.loss_ce'] == 0
    expected = slow_label_loss(model, image[1:], [labels()])
    torch.testing.assert_close(results[1][0]['decode.loss_ce'], expected.detach())


def test_the_class_is_registered_for_mmseg_configs():
    from mmseg.registry import MODELS as MMSEG_MODELS

    assert MMSEG_MODELS.get('CaptionAlignedSegmentor') is CaptionAlignedSegmentor
