"""What a trained model still recognises when it is given the true masks of the objects.

    python projects/shapes_study/true_regions.py CONFIG CHECKPOINT OUT.json --data data/shapes_world

A region is recognised if, of the names of all object classes, its own is the most similar one: to
the dense features pooled over it, as region_feature sees it, or to CLIP's embedding of the
highlighted image, as region_image and L_hcl see it. Each of these with the true mask and with one
that has a rim of background around it; the highlighted image also with single cells of the mask
flipped, as the sampling of a region mask does.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from readings import load, parse_args
from torch import Tensor, nn

RIM = 4  # pixels
FLIPPED = 0.05  # share of the mask's cells


def recalls(model: nn.Module, loader) -> dict[str, float]:
    """Shares of the objects' regions that are recognised; the names of classes are set."""
    names = F.normalize(model.decode_head.class_embeddings, dim=-1)
    right: dict[str, list[Tensor]] = {}
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for batch in loader:
            data = model.data_preprocessor(batch, False)
            features = model.image_segmenter(model.backbone.visual.trunk(data['inputs']))
            for image, dense, sample in zip(
                data['inputs'], features, data['data_samples'], strict=True
            ):
                labels = sample.gt_sem_seg.data[0]
                classes = [c for c in labels.unique().tolist() if 0 < c <= len(names)]
                if not classes:
                    continue
                own = torch.tensor(classes, device=labels.device) - 1  # 0 is the background
                masks = torch.stack([labels == c for c in classes])[:, None].float()
                found_by = _embeddings(model, image[None], dense[None], masks, noise)
                for key, embed in found_by.items():
                    found = (F.normalize(embed, dim=-1) @ names.T).argmax(1)
                    right.setdefault(key, []).append(found == own)
    return {key: torch.cat(parts).double().mean().item() for key, parts in right.items()}


def _embeddings(
    model: nn.Module, image: Tensor, dense: Tensor, masks: Tensor, noise: torch.Generator
) -> dict[str, Tensor]:
    """Embeddings [n, c] of the regions of n masks [n, 1, H, W] in one image, by key."""
    rims = F.max_pool2d(masks, 2 * RIM + 1, stride=1, padding=RIM)
    found = {}
    for suffix, mask in {'': masks, '_rim': rims}.items():
        share = F.adaptive_avg_pool2d(mask, dense.shape[-2:])
        pooled = (dense * share).sum((2, 3)) / share.sum((2, 3))
        found[f'region_recall_pooled{suffix}'] = pooled
        highlighted = model.region_prompt(image, mask)
        found[f'region_recall_highlighted{suffix}'] = model.backbone.encode_image(highlighted)
    flips = torch.rand(len(masks), 1, *dense.shape[-2:], generator=noise) < FLIPPED
    flips = F.interpolate(flips.to(masks), masks.shape[-2:], mode='nearest')
    highlighted = model.region_prompt(image, (masks - flips).abs())
    found['region_recall_highlighted_flipped'] = model.backbone.encode_image(highlighted)
    return found


def main() -> None:
    args = parse_args()
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner, load_checkpoint

    import code_mm  # noqa: F401  registers the parts
    from code_mm.atomic_write import atomic_write
    from code_mm.registry import MODELS

    cfg = load(args)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    load_checkpoint(model, args.checkpoint, 'cpu')
    loader = Runner.build_dataloader(cfg.test_dataloader)
    model.eval().set_class_names(loader.dataset.metainfo['classes'])
    with atomic_write(args.out) as path:
        Path(path).write_text(json.dumps(recalls(model, loader), indent=2) + '\n')


if __name__ == '__main__':
    main()
