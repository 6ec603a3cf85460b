"""Which instructions torch computes with: set before torch is imported, which reads it once."""

import os
import sys
from pathlib import Path

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""For torch's own operations, oneDNN and MKL."""


def use_common_instructions(cpu: Path = Path("/proc/cpuinfo")) -> None:
    """AVX2 on a processor that has AVX-512 as well. No effect once torch is there, or where the caller has chosen.

    The two round in different ways, and the training of a model makes a difference of rounding as large as that of
    another seed. With the same instructions, the demo shows the same figures on most processors.
    """
    if "torch" in sys.modules or not cpu.is_file() or "avx512f" not in cpu.read_text(errors="replace").split():
        return
    for name, value in AVX2.items():
        os.environ.setdefault(name, value)
