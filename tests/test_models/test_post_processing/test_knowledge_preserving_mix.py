import pytest

from code_mm.models.post_processing import KnowledgePreservingMix


@pytest.mark.parametrize('weight', [-0.1, 0.0, 1.1])
def test_weight_outside_its_range(weight):
    with pytest.raises(ValueError, match=r'expected a weight in \(0, 1\]'):
        KnowledgePreservingMix(weight=weight)
