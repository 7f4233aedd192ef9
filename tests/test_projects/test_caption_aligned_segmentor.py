"""Labels and captions in one batch, in one process and in two; the label loss: test_mixing.py."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_model import LOSSES, RESNET, SIZES, build, caption_samples, co_decomposition, images

from projects import mixing  # noqa: F401 - registers the model

LABELS, ACCURACY = 'decode.loss_ce', 'decode.acc_seg'


def tiny(embed_dim=32, **keys):
    """Uniform noise of one half: a region is where the soft mask is over one half."""
    config = dict(
        type='CaptionAlignedSegmentor',
        backbone=RESNET,
        decode_head=dict(type='ZeroShotHead', in_channels=64, project=True, embed_dim=embed_dim),
        vision_language_backbone=dict(type='CLIP', **SIZES),
        co_decomposition=co_decomposition(),
        class_names=['star', 'boat', 'grass'],
    )
    model = build(ConfigDict({**config, **keys}), 0).eval()
    to_mask = model.co_decomposition.similarity_to_mask
    to_mask.sample_noise = lambda similarity: torch.full_like(similarity, 0.5)
    return model


def labelled(sample=None, seed=3):
    map_ = torch.randint(0, 3, (1, 32, 32), generator=torch.Generator().manual_seed(seed))
    sample = SegDataSample() if sample is None else sample
    sample.gt_sem_seg = PixelData(data=map_.index_fill_(1, torch.arange(8), 255))
    return sample


def aligned(model, image, samples, small=None):
    """The losses of captions alone; their values are those of parity."""
    features = model.decode_head.pixel_embeddings(model.extract_feat(image))
    losses = model.co_decomposition(
        model.vision_language_backbone, image if small is None else small, features, samples
    )
    return {f'alignment.{name}': value for name, value in losses.items()}


def assert_close(found, expected):
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f'{n}: {text}'
        )


def test_a_mixed_batch_gives_the_losses_of_its_labels_and_of_its_captions():
    """Labels alone; a caption alone; both."""
    model, image, (first, second) = tiny(), images(3, 32, 32), caption_samples()
    losses = model.loss(image, [labelled(), first, labelled(second, seed=4)])
    expected = aligned(model, image[1:], caption_samples())
    expected |= model.loss(image[[0, 2]], [labelled(), labelled(seed=4)])
    assert losses.keys() == expected.keys() and len(expected) == len(LOSSES) + 2
    assert_close(losses, expected)


def learning(model, losses):
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def test_a_batch_of_labels_and_one_of_captions():
    model = tiny()
    losses = model.loss(images(2, 32, 32), [labelled(), labelled(seed=4)])
    assert set(losses) == {LABELS, ACCURACY}
    # class names do not move the contexts
    assert {n.split('.')[0] for n in learning(model, losses)} == {'backbone', 'decode_head'}

    model = tiny()
    losses = model.loss(images(2, 32, 32), caption_samples())
    assert losses[LABELS] == 0 and losses[LABELS].requires_grad and ACCURACY not in losses
    moved = learning(model, losses)
    # CLIP is frozen
    assert {n.split('.')[0] for n in moved} == {'backbone', 'decode_head', 'co_decomposition'}
    assert moved >= {'co_decomposition.noun_prompt.contexts', 'decode_head.projection.weight'}


def test_class_names_follow_the_contexts():
    model, other = tiny().train(), tiny().train()
    image, samples = images(1, 32, 32), [labelled()]
    before = model.loss(image, samples)[LABELS]
    for each in (model, other):
        each.noun_prompt.contexts.data.neg_()  # a constant would vanish in the layer norms
    after = model.loss(image, samples)[LABELS]
    assert after == other.loss(image, samples)[LABELS] != before


def test_images_are_resized_for_the_vision_language_backbone():
    model, image = tiny(image_size=32), images(2, 64, 64)
    small = F.interpolate(image, (32, 32), mode='bilinear', antialias=True)
    losses = model.loss(image, caption_samples())
    assert_close(losses, aligned(model, image, caption_samples(), small))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'embed_dim=32.*but got 16'):
        tiny(embed_dim=16)
    empty = SegDataSample(metainfo=dict(img_path='a.jpg'))
    with pytest.raises(ValueError, match=r'a\.jpg has neither'):
        tiny().loss(images(2, 32, 32), [labelled(), empty])
    with pytest.raises(ValueError, match='class_names, the names of the training labels; got none'):
        tiny(class_names=None).loss(images(1, 32, 32), [labelled()])


def _losses_of_a_process(state, batches):
    """Losses and gradients of this process' batch, averaged as DistributedDataParallel does."""
    model = tiny()
    model.load_state_dict(state)
    losses = model.loss(*batches[dist.get_rank()])
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            dist.all_reduce(gradient)
            gradients[name] = gradient / 2
    return {k: v.detach() for k, v in losses.items()}, gradients


def test_processes_with_unequal_captions_stay_in_step(run_in_two_processes):
    """Two captions and one: each aligns one, as one process would the two of them."""
    model, image, (first, second) = tiny(), images(3, 32, 32), caption_samples()
    batches = [(image[:2], [first, labelled(second)]), (image[2:], [caption_samples()[1]])]
    results = run_in_two_processes(_losses_of_a_process, model.state_dict(), batches)
    (losses, gradients), (other, same) = results
    joined = aligned(model, image[[0, 2]], caption_samples())
    assert_close({name: (losses[name] + other[name]) / 2 for name in joined}, joined)
    of_labels = model.loss(image[1:2], [labelled()])[LABELS]
    assert other[LABELS] == 0 and losses[LABELS] == of_labels.detach()
    (sum(joined.values()) + of_labels / 2).backward()
    expected = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert_close(gradients, expected)
    assert_close(same, expected)


def test_a_process_without_captions_stops_the_alignment_of_all(run_in_two_processes):
    model, image = tiny(), images(2, 32, 32)
    batches = [(image[:1], caption_samples()[:1]), (image[1:], [labelled()])]
    results = run_in_two_processes(_losses_of_a_process, model.state_dict(), batches)
    (first, _), (second, _) = results
    assert first == {LABELS: 0}
    assert_close(second, model.loss(image[1:], [labelled()]))
    assert set(second) == {LABELS, ACCURACY}
