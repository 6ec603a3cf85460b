"""Where tests find benchmark files that are not part of the project, and how they say that they are missing."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("BIASUNLEARN_SHARED", Path(__file__).resolve().parents[2] / "shared"))

needs_shared = pytest.mark.skipif(
    not (SHARED / "data").is_dir(), reason=f"benchmark files not found in {SHARED}; set BIASUNLEARN_SHARED"
)
