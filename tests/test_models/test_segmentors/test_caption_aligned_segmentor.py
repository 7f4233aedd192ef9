"""Labels and captions in one batch, in one process and in two."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_model import (
    CONTEXTS,
    LOSSES,
    RESNET,
    SIZES,
    build,
    caption_samples,
    co_decomposition,
    images,
)

PROJECTED = dict(type='ZeroShotHead', in_channels=64, project=True)
NAMES = ['star', 'boat', 'grass']


def tiny(embed_dim=32, **keys):
    """Uniform noise of one half: a region is where the soft mask is over one half."""
    config = dict(
        type='CaptionAlignedSegmentor',
        backbone=RESNET,
        decode_head=dict(PROJECTED, embed_dim=embed_dim),
        vision_language_backbone=dict(type='CLIP', **SIZES),
        co_decomposition=co_decomposition(),
        class_names=NAMES,
    )
    model = build(ConfigDict({**config, **keys}), 0).eval()
    to_mask = model.co_decomposition.similarity_to_mask
    to_mask.sample_noise = lambda similarity: torch.full_like(similarity, 0.5)
    return model


def labels(seed=3):
    map_ = torch.randint(0, 3, (1, 32, 32), generator=torch.Generator().manual_seed(seed))
    return map_.index_fill_(1, torch.arange(8), 255)


def labelled(sample=None, seed=3):
    sample = SegDataSample() if sample is None else sample
    sample.gt_sem_seg = PixelData(data=labels(seed))
    return sample


def pixel_embeddings(model, image):
    (features,) = model.backbone(image)
    projection = model.decode_head.projection
    features = features.movedim(1, -1) @ projection.weight[:, :, 0, 0].T + projection.bias
    return F.normalize(features.movedim(-1, 1), dim=1)


def slow_label_loss(model, image, maps):
    """Cross-entropy of scaled cosines with the class names, mean over labelled pixels."""
    clip, to_mask = model.vision_language_backbone, model.decode_head.similarity_to_mask
    length = SIZES['context_length'] - CONTEXTS
    names = [model.noun_prompt(clip.tokenize(name, length), clip)[0].detach() for name in NAMES]
    total, count = 0.0, 0
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


def aligned(model, image, samples, small=None):
    """The losses of the captions alone; their values are those of ``test_co_decomposition.py``."""
    features, image = pixel_embeddings(model, image), image if small is None else small
    return model.co_decomposition(model.vision_language_backbone, image, features, samples)


def test_a_mixed_batch_gives_the_losses_of_its_labels_and_of_its_captions():
    """Labels alone; a caption alone; both."""
    model, image, (first, second) = tiny(), images(3, 32, 32), caption_samples()
    losses = model.loss(image, [labelled(), first, labelled(second, seed=4)])
    expected = slow_label_loss(model, image[[0, 2]], [labels(3), labels(4)])
    torch.testing.assert_close(losses['decode.loss_ce'], expected, rtol=1e-4, atol=1e-5)
    expected = aligned(model, image[1:], caption_samples())
    assert len(expected) == len(LOSSES)
    names = {f'alignment.{name}' for name in expected}
    assert losses.keys() == names | {'decode.loss_ce', 'decode.acc_seg'}
    for name, value in expected.items():
        torch.testing.assert_close(losses[f'alignment.{name}'], value, rtol=1e-4, atol=1e-5)


def learning(model, losses):
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def test_a_batch_of_labels_and_one_of_captions():
    model = tiny()
    losses = model.loss(images(2, 32, 32), [labelled(), labelled(seed=4)])
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg'}
    # class names do not move the contexts
    assert {n.split('.')[0] for n in learning(model, losses)} == {'backbone', 'decode_head'}

    model = tiny()
    losses = model.loss(images(2, 32, 32), caption_samples())
    assert losses['decode.loss_ce'] == 0 and losses['decode.loss_ce'].requires_grad
    assert 'decode.acc_seg' not in losses
    moved = learning(model, losses)
    # CLIP is frozen
    assert {n.split('.')[0] for n in moved} == {'backbone', 'decode_head', 'co_decomposition'}
    assert moved >= {'co_decomposition.noun_prompt.contexts', 'decode_head.projection.weight'}


def test_class_names_follow_the_contexts():
    model = tiny().train()
    image, samples = images(1, 32, 32), [labelled()]
    model.loss(image, samples)
    with torch.no_grad():
        model.noun_prompt.contexts.neg_()  # a constant would vanish in the layer norms
    expected = slow_label_loss(model, image, [labels()])
    torch.testing.assert_close(model.loss(image, samples)['decode.loss_ce'], expected)


def test_images_are_resized_for_the_vision_language_backbone():
    model, image = tiny(image_size=32), images(2, 64, 64)
    small = F.interpolate(image, (32, 32), mode='bilinear', antialias=True)
    losses = model.loss(image, caption_samples())
    for name, value in aligned(model, image, caption_samples(), small).items():
        torch.testing.assert_close(losses[f'alignment.{name}'], value)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'embed_dim=32.*but got 16'):
        tiny(embed_dim=16)
    empty = SegDataSample(metainfo=dict(img_path='a.jpg'))
    with pytest.raises(ValueError, match=r'a\.jpg has neither'):
        tiny().loss(images(2, 32, 32), [labelled(), empty])
    with pytest.raises(ValueError, match='class_names, the names of the training labels'):
        tiny(class_names=None).loss(images(1, 32, 32), [labelled()])


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
    model, image, (first, second) = tiny(), images(3, 32, 32), caption_samples()
    both = labelled(second, seed=4)
    batches = [(image[:2], [first, both]), (image[2:], [caption_samples()[1]])]
    results = run_in_two_processes(_losses_of_a_process, model.state_dict(), batches)
    joined = aligned(model, image[[0, 2]], caption_samples())
    for name, value in joined.items():
        mean = sum(losses[f'alignment.{name}'] for losses, _ in results) / 2
        torch.testing.assert_close(mean, value.detach(), rtol=1e-4, atol=1e-5, msg=name)
    assert results[1][0]['decode.loss_ce'] == 0 and results[0][0]['decode.loss_ce'] > 0
    (sum(joined.values()) + slow_label_loss(model, image[1:2], [labels(4)]) / 2).backward()
    for name, parameter in model.named_parameters():
        for _, gradients in results if parameter.requires_grad else ():
            torch.testing.assert_close(
                gradients[name], parameter.grad, rtol=1e-3, atol=1e-5, msg=name
            )


def test_a_process_without_captions_stops_the_alignment_of_all(run_in_two_processes):
    model, image = tiny(), images(2, 32, 32)
    batches = [(image[:1], caption_samples()[:1]), (image[1:], [labelled()])]
    results = run_in_two_processes(_losses_of_a_process, model.state_dict(), batches)
    assert [set(losses) - {'decode.acc_seg'} for losses, _ in results] == [{'decode.loss_ce'}] * 2
    assert results[0][0]['decode.loss_ce'] == 0
    expected = slow_label_loss(model, image[1:], [labels()])
    torch.testing.assert_close(results[1][0]['decode.loss_ce'], expected.detach())
