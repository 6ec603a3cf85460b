"""One packed forward pass over the sentences of a step, split by their roles: forget, retain, unrelated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.models.batches import TokenRow
from biasunlearn.models.packed_forward import Read, RowCache, read_rows
from biasunlearn.unlearn.layer_states import LayerStates


@dataclass(frozen=True, slots=True)
class RoleLogProbs:
    """log p(y | x) of the sentences of one role under the model that learns and under the reference, in nats."""

    values: Tensor  # [sentences]
    tokens: Tensor  # [sentences] supervised tokens of each
    reference: Tensor | None = None  # [sentences]; None where the objective does not use it
    swap_weights: Tensor | None = None  # [sentences] |swap weight| of each forget sentence's bias type, 0 to 1
    read: Read | None = None  # the forward pass, for objectives of single tokens
    reference_states: Tensor | None = None  # [tokens, hidden] of the reference, where an objective needs its logits
    layer: LayerStates | None = None  # hidden states of one layer, where an objective needs them

    @property
    def means(self) -> Tensor:
        """[sentences] per token."""
        return self.values / self.tokens

    @property
    def ratios(self) -> Tensor:
        """[sentences] r = log p_theta(y | x) - log p_ref(y | x); the reference carries no gradient."""
        assert self.reference is not None
        return self.values - self.reference.detach()


@dataclass(frozen=True, slots=True)
class StepLogProbs:
    """The log-probabilities of a step by role."""

    forget: RoleLogProbs
    retain: RoleLogProbs
    unrelated: Read
    """Whole distributions, since the KL term compares them."""
    contexts: Read
    """The same of all members of all counterfactual contexts, in order."""
    tokens_read: int


def log_probs_by_role(
    model: Any,
    cache: RowCache,
    *,
    forget: Sequence[Passage | TokenRow],
    retain: Sequence[Passage | TokenRow],
    unrelated: Sequence[Passage | TokenRow],
    contexts: Sequence[Passage | TokenRow] = (),
) -> StepLogProbs:
    """Reads all sentences of a step in one packed forward pass."""
    whole = read_rows(model, cache.rows((*forget, *retain, *unrelated, *contexts)))
    scored = whole.part(0, len(forget) + len(retain))
    values, tokens = (found.tensor_split([len(forget)]) for found in (scored.log_probs, scored.tokens))
    return StepLogProbs(
        forget=RoleLogProbs(values[0], tokens[0], read=whole.part(0, len(forget))),
        retain=RoleLogProbs(values[1], tokens[1]),
        unrelated=whole.part(scored.rows, scored.rows + len(unrelated)),
        contexts=whole.part(scored.rows + len(unrelated), whole.rows),
        tokens_read=whole.tokens_read,
    )
