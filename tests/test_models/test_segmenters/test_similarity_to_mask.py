import pytest
import torch

from code_mm.models.segmenters import SimilarityToMask


@pytest.fixture
def similarity():
    return torch.linspace(-1, 1, 24).view(2, 3, 2, 2).requires_grad_()


@pytest.mark.parametrize('temperature', [1.0, 0.5])
def test_hard_masks_are_straight_through(similarity, temperature):
    to_mask = SimilarityToMask(temperature=temperature)
    noise = torch.rand(similarity.shape, generator=torch.Generator().manual_seed(0))
    to_mask.sample_noise = lambda _: noise
    hard = to_mask.hard(similarity)
    with torch.no_grad():
        noisy = 10 * similarity - 2.5 + torch.log(noise / (1 - noise))
        assert torch.equal(hard, (noisy > 0).float())
        soft = torch.sigmoid(noisy / temperature)
        slope = soft * (1 - soft) / temperature
    assert 0 < hard.mean() < 1
    hard.sum().backward()
    torch.testing.assert_close(similarity.grad, 10 * slope)
    torch.testing.assert_close(to_mask.scale.grad, (similarity.detach() * slope).sum())
    torch.testing.assert_close(to_mask.bias.grad, slope.sum())


def test_hard_masks_are_drawn_anew_with_the_soft_masks_probability():
    to_mask = SimilarityToMask(init_scale=1.0, init_bias=0.0)
    torch.manual_seed(0)
    similarity = torch.tensor([-1.0, 0.0, 1.0])[:, None].expand(-1, 20000)
    first, second = to_mask.hard(similarity), to_mask.hard(similarity)
    assert not torch.equal(first, second)
    expected = torch.sigmoid(torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(first.mean(1), expected, atol=0.015, rtol=0)
    # half precision knows 1024 numbers between 1/2 and 1, and rounds to 1
    assert to_mask.sample_noise(similarity.half()).dtype == torch.float32
