"""Golden case 04_full_2proc: the full objective on two processes, and our own exact form of it."""

import torch
from released_model import (
    LOSS_NAMES,
    build_released_model,
    caption_samples,
    fix_noise,
    own_name,
)

from code_mm.ops import rank


def _rank_inputs(index, strings, tensors, r):
    part = strings[r]
    samples = caption_samples(
        index, part['captions'], part['nouns_J_B'], part['all_nouns'], part['kg_template_indices']
    )
    return samples, tensors[f'rank{r}.image'], tensors[f'rank{r}.uniform_noise']


def _step(index, checkpoint, strings, tensors, released):
    """Losses and gradients of this rank, with the release's per-process forms or code_mm's."""
    model = build_released_model(index, checkpoint, sync=not released)
    samples, image, noise = _rank_inputs(index, strings, tensors, rank())
    fix_noise(model, noise, columns=rank() * len(noise))
    values = model.loss(image, samples)
    sum(values.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in values.items()}, gradients


def test_released_forms(golden, run_in_two_processes):
    entry = golden.case('04_full_2proc')
    tensors = golden.tensors(entry)
    index, release = golden.index, golden.release
    model = build_released_model(index, release)  # for its names
    results = run_in_two_processes(_step, index, release, entry['strings'], tensors, True)
    for r, (values, gradients) in enumerate(results):
        for name, own in LOSS_NAMES.items():
            golden.assert_close(values[own], tensors[f'rank{r}.loss.{name}'], entry, 'loss', name)
        total = sum(values.values())
        golden.assert_close(total, tensors[f'rank{r}.total'], entry, 'loss', 'total')
        prefix = f'rank{r}.grad_local.'
        names = [name for name in tensors if name.startswith(prefix)]
        assert names
        for name in names:
            expected = tensors[name]
            value = gradients[own_name(model, name.removeprefix(prefix))]
            golden.assert_close(value.reshape(expected.shape), expected, entry, 'grad', name)
    for name, norm in entry['grad_mean_norms'].items():
        own = own_name(model, name)
        mean = (results[0][1][own] + results[1][1][own]) / 2
        torch.testing.assert_close(mean.norm(), torch.tensor(norm), rtol=1e-3, atol=1e-6)


def test_two_processes_equal_one_with_the_joined_batch(golden, run_in_two_processes):
    entry = golden.case('04_full_2proc')
    tensors, strings = golden.tensors(entry), entry['strings']
    index, release = golden.index, golden.release
    first, second = run_in_two_processes(_step, index, release, strings, tensors, False)

    model = build_released_model(index, release)
    parts = [_rank_inputs(index, strings, tensors, r) for r in range(2)]
    samples = parts[0][0] + parts[1][0]
    image = torch.cat([parts[0][1], parts[1][1]])
    # Own nouns only, reordered from [rank, noun, image] to [noun, rank and image].
    b, n = len(parts[0][0]), len(parts[0][2])
    pair = torch.arange(n)
    own = [noise[pair, pair + r * n, None] for r, (_, _, noise) in enumerate(parts)]
    own = torch.cat([noise.unflatten(0, (-1, b)) for noise in own], dim=1).flatten(0, 1)
    model.similarity_to_mask.sample_noise = lambda similarity: own

    values = model.loss(image, samples)
    for name, value in values.items():
        mean = (first[0][name] + second[0][name]) / 2
        torch.testing.assert_close(mean, value, rtol=1e-5, atol=1e-6, msg=name)
    sum(values.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            mean = (first[1][name] + second[1][name]) / 2
            error = (mean - parameter.grad).norm() / parameter.grad.norm().clamp_min(1e-6)
            assert error < 1e-3, f'{name}: {error}'
