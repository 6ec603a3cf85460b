"""Two processes of BiasUnlearnTrainer (gloo, CPU), forked after the imports: python -m tests.unlearn.trainer_ranks OUT.

Each writes what it did to OUT/rankN.pt. A process that has trained cannot be forked, hence a program of its own.
"""

import os
import socket
import sys
from pathlib import Path

import torch

from biasunlearn.models.adapters import trainable
from tests.unlearn.test_hf_trainer import trained

RANKS = (0, 1)


def run(rank: int, port: int, out: Path) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(RANKS)), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    found = trained(out / f"rank{rank}", per_device_train_batch_size=4 // len(RANKS))
    weights = {name: value.detach() for name, value in trainable(found.model).items()}
    torch.save({"rows": found.bias.training.rows, "weights": weights}, out / f"rank{rank}.pt")


def main(out: Path) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in RANKS:
        child = os.fork()
        if not child:
            try:
                run(rank, port, out)
            except BaseException as error:
                print(f"rank {rank}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
