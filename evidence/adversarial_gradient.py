"""Whether the adversarial forget set acts: the norm of its gradient, with matched and with independent batches.

    python evidence/adversarial_gradient.py MODEL train.jsonl

The gradient of the two role losses at the base model (weights of the default recipe, without the KL term), averaged
over the same number of sentences for each row of the table, in the space of the adapter:

- stereotypes: L_forget of stereotypes and L_retention of their anti-stereotypes, which is what the method learns from;
- adversarial, independent (the paper): L_forget of anti-stereotypes, which the retain set holds too, but not in the
  same batch;
- adversarial, matched: L_forget of anti-stereotypes and L_retention of the same sentences, as the partner of an
  adversarial sentence in a batch of matched pairs is itself.
"""

import argparse

import torch

from biasunlearn.config import DebiasConfig
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Passage
from biasunlearn.models.adapters import trainable, with_lora
from biasunlearn.models.load import load
from biasunlearn.models.packed_forward import RowCache
from biasunlearn.models.spec import ModelSpec
from biasunlearn.unlearn.sampler import StepBatch
from biasunlearn.unlearn.trainer import loss_terms


def main() -> None:
    parser = argparse.ArgumentParser(description="Norm of the gradient of the adversarial forget set.")
    parser.add_argument("model")
    parser.add_argument("train")
    parser.add_argument("--sentences", type=int, default=256)
    given = parser.parse_args()
    config = DebiasConfig(kl_weight=0.0)
    torch.manual_seed(0)
    loaded = load(ModelSpec(given.model, device="cpu"))
    model = with_lora(loaded.model, config)
    found = [c for c in read_triplets(given.train).triplets if c.kind == "intrasentence"]
    step = max(1, len(found) // given.sentences)
    chosen = found[::step][: given.sentences]
    stereotypes = tuple(c.supervised(c.stereotype, config.supervised_to) for c in chosen)
    anti = tuple(c.supervised(c.anti_stereotype, config.supervised_to) for c in chosen)
    rows = {
        "stereotypes, matched": (stereotypes, anti, 1.0),
        "adversarial, independent": (anti, anti, 0.0),
        "adversarial, matched": (anti, anti, 1.0),
    }
    for name, (forget, retain, retain_weight) in rows.items():
        print(f"{name:25}  {norm(loaded.with_model(model), forget, retain, retain_weight, config):.3f}")


def norm(
    loaded: object, forget: tuple[Passage, ...], retain: tuple[Passage, ...], weight: float, config: DebiasConfig
) -> float:
    """Norm of the mean gradient over batches of 32 pairs."""
    model, cache = loaded.model, RowCache(loaded.tokenizer, loaded.model)  # type: ignore[attr-defined]
    model.zero_grad()
    size, batches = 32, -(-len(forget) // 32)
    for start in range(0, len(forget), size):
        part = slice(start, start + size)
        count = len(forget[part])
        batch = StepBatch(forget[part], retain[part], (), (1.0,) * count, (weight,) * count)
        (loss_terms(model, cache, batch, config).total(config) / batches).backward()
    return float(torch.stack([p.grad.norm() for p in trainable(model).values() if p.grad is not None]).norm())


if __name__ == "__main__":
    main()
