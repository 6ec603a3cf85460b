"""Every file in configs/ is one that accelerate itself reads, and asks for as many processes as its name says."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType

FOLDER = Path(__file__).parent.parent / "configs"
KINDS = {
    "ddp-8-gpus": (DistributedType.MULTI_GPU, 8, 1),
    "ddp-2-nodes": (DistributedType.MULTI_GPU, 16, 2),
    "fsdp2-8-gpus": (DistributedType.FSDP, 8, 1),
    "fsdp2-2-nodes": (DistributedType.FSDP, 16, 2),
    "deepspeed-zero3": (DistributedType.DEEPSPEED, 8, 1),
}


def test_none_is_forgotten() -> None:
    assert {path.stem for path in FOLDER.rglob("*.y*ml")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_it(name: str) -> None:
    found = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert (found.distributed_type, found.num_processes, found.num_machines) == KINDS[name]
    assert not found.use_cpu
    if found.distributed_type == DistributedType.FSDP:
        assert found.fsdp_config["fsdp_version"] == 2
    if found.distributed_type == DistributedType.DEEPSPEED:
        assert found.deepspeed_config["zero_stage"] == 3
