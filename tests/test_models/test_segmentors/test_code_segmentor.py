"""Start values, what learns, and memory, precision and time of a training step."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_model import CONTEXTS, SIZES, caption_samples, code_config, images, tiny_clip, tiny_code
from torch._subclasses import fake_tensor
from torch.nn.parallel import DistributedDataParallel

from code_mm.ops import rank
from code_mm.registry import MODELS


def test_weights_of_clip_start_what_learns(tmp_path):
    clip = tiny_clip(seed=7)
    torch.save(clip.state_dict(), tmp_path / 'clip.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'clip.pth'))
    config = code_config(backbone={**code_config().backbone, 'init_cfg': init_cfg})
    model = MODELS.build(config)
    model.init_weights()
    assert torch.equal(model.backbone.visual.proj, clip.visual.proj)
    tail = model.image_segmenter.tail
    assert torch.equal(tail.proj, clip.visual.proj)
    last = clip.visual.transformer.resblocks[-1].state_dict()
    assert all(torch.equal(tail.block.state_dict()[key], value) for key, value in last.items())
    ids = clip.tokenize('a photo of x')[0, 1 : 1 + CONTEXTS]
    assert torch.equal(model.noun_prompt.contexts, clip.text.token_embedding.weight[ids])
    for name in ('region_feature', 'region_image', 'region_word'):
        scale = model.co_decomposition.losses[name].logit_scale
        assert scale.item() == pytest.approx(math.log(1 / 0.07))
    # gates are closed: before training CoDe sees what MaskCLIP sees
    image = images(1, 32, 32)
    dense = F.normalize(clip(image)[0], dim=1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    features = model.extract_feat(image)[0]
    torch.testing.assert_close(features, dense)
    features.sum().backward()
    gates = {n: p.grad for n, p in model.named_parameters() if n.endswith('gate')}
    assert gates and all(gates.values())  # they can be opened


def test_scale_and_bias_belong_to_the_co_decomposition():
    head = dict(type='ZeroShotHead', similarity_to_mask=dict(init_scale=3.0))
    with pytest.raises(ValueError, match=r'no similarity_to_mask in decode_head.*move it there'):
        MODELS.build(code_config(decode_head=head))
    model = tiny_code()
    assert not any('decode_head' in name for name in model.state_dict())


CHECKPOINTED = dict(
    backbone=dict(type='CLIP', **SIZES, with_cp=True),
    image_segmenter=dict(type='ImageSegmenter', with_cp=True),
)


def losses_and_gradients(model, seed=3):
    torch.manual_seed(seed)
    losses = model.loss(images(2, 32, 32), caption_samples())
    sum(losses.values()).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in losses.items()}, gradients


def _gradients_in_processes():
    model = tiny_code(unsynchronized=['*.block.*'])
    model.forward = lambda seed: sum(
        model.loss(images(2, 32, 32, seed=seed), caption_samples()).values()
    )
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    wrapped(rank()).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def test_gradients_of_unsynchronized_parameters_stay_apart(run_in_two_processes):
    first, second = run_in_two_processes(_gradients_in_processes)
    apart = {name for name, grad in first.items() if not torch.equal(grad, second[name])}
    assert apart == {name for name in first if '.block.' in name} != set()
    with pytest.raises(ValueError, match=r"match parameters, but got \['blok"):
        tiny_code(unsynchronized=['blok.*'])


@pytest.mark.parametrize('frozen_block', [False, True])
def test_activation_checkpointing_keeps_less(frozen_block):
    found = []
    for keys in ({}, CHECKPOINTED):
        model, kept = tiny_code(**keys).train(), {}
        model.image_segmenter.tail.block.requires_grad_(not frozen_block)  # the first stage

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found.append((losses_and_gradients(model), sum(kept.values()), model.state_dict()))
    (expected, kept, state), (checkpointed, kept_less, its_state) = found
    torch.testing.assert_close(checkpointed, expected)
    assert state.keys() == its_state.keys()
    assert kept_less < 0.7 * kept


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision_is_finite_and_near_full_precision(dtype):
    expected, _ = losses_and_gradients(tiny_code())
    with torch.autocast('cpu', dtype=dtype):
        losses, gradients = losses_and_gradients(tiny_code())
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(value.dtype == torch.float32 for value in losses.values())
    tolerance = 40 * torch.finfo(dtype).eps
    torch.testing.assert_close(losses, expected, atol=tolerance, rtol=tolerance)


def without_values(mode, module):
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                fake = mode.from_tensor(parameter.data)
                part._parameters[name] = torch.nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = buffer if buffer is None else mode.from_tensor(buffer)
    return module


def test_a_step_does_not_wait_for_the_device():
    """What would (``.item()``, a condition on a tensor) fails on tensors without values."""
    mode, samples = fake_tensor.FakeTensorMode(), caption_samples()
    model = without_values(mode, tiny_code().train())
    for sample in samples:
        for name in sample.keys():  # noqa: SIM118
            sample.set_field(mode.from_tensor(getattr(sample, name)), name)
    inputs = mode.from_tensor(images(2, 32, 32))
    with mode:
        losses = model.loss(inputs, samples)
        sum(losses.values()).backward()
        with pytest.raises(fake_tensor.DataDependentOutputException):
            losses['loss_area'].item()
    assert len(losses) == 9 and all(
        type(value) is fake_tensor.FakeTensor for value in losses.values()
    )
    learnt = [p for p in model.parameters() if p.requires_grad]
    assert all(type(p.grad) is fake_tensor.FakeTensor for p in learnt)
