"""Unlearning on `transformers.Trainer`: the same losses, batches, swap and stop rules as unlearn/trainer.py.

Nothing else of this package imports these modules, since importing transformers.Trainer takes seconds.
"""

from biasunlearn.unlearn.hf_trainer.batches import ROLES, RoleCollator
from biasunlearn.unlearn.hf_trainer.callback import BiasCallback
from biasunlearn.unlearn.hf_trainer.config import BiasUnlearnConfig
from biasunlearn.unlearn.hf_trainer.trainer import BiasUnlearnTrainer

__all__ = ["ROLES", "BiasCallback", "BiasUnlearnConfig", "BiasUnlearnTrainer", "RoleCollator"]
