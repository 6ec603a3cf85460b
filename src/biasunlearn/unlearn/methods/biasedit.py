"""BiasEdit: the probabilities of both sentences of a pair are made equal by a change of the last MLPs.

Source: Xu et al., BiasEdit (arXiv 2503.08588), equations of L_d and L_r, and the authors' code (zjunlp/BiasEdit):

    L = L_d + lambda L_r
    L_d = KL(P(stereotype) || P(anti-stereotype)) + KL(P(anti-stereotype) || P(stereotype))
    L_r = KL(P_base(unrelated) || P(unrelated))

There a hyper-network, trained beforehand, reads the activations and gradients of a batch of pairs and writes the change
of the MLPs' output matrices in the last blocks. **There is no hyper-network here.** Its losses train a LoRA adapter on
the same matrices directly, by the training loop of all methods, so that the model itself is edited on these pairs.
Whatever the editor would carry over from pairs to others is not part of it. Further differences:

- P is normalised over the pair (losses.biasedit_loss). In the authors' code it is the mean probability of a token,
  which is small for a rare word: the debiasing loss is multiplied by it, and the retention loss would outweigh it;
- L_r is the KL divergence of the whole distributions at the unrelated sentences (L_KL of the other methods). In the
  authors' code it is the one term of it that belongs to the token of the sentence;
- lambda (`kl_weight`) is 4, as in the authors' configuration. The learning rate was not tuned.
"""

from dataclasses import replace

from biasunlearn.errors import RequestError
from biasunlearn.models.mlp import mlp_outputs
from biasunlearn.unlearn.methods import gradient
from biasunlearn.unlearn.methods.task import MethodResult, Task

BLOCKS = 3
"""Last blocks whose MLP is edited; the authors' configurations have one to three."""


def run(task: Task) -> MethodResult:
    """Trains LoRA on the output matrices of the last MLPs, or on those that `lora_targets` names.

    Raises:
        RequestError: `lora_rank: 0`; no MLP of a known kind.
    """
    if not task.config.lora_rank:
        raise RequestError("lora_rank: 0: method: biasedit edits the MLPs of the last blocks by LoRA; set it above 0")
    if task.config.lora_targets != ("all-linear",):
        return gradient.run(task)
    names = mlp_outputs(task.loaded.model, "biasedit")[-BLOCKS:]
    return gradient.run(replace(task, config=replace(task.config, lora_targets=tuple(names))))
