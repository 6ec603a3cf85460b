"""Settings of every test session: one thread a process, no network, and how hypothesis draws its examples."""

import os

# Before torch is imported: several tests run at once (pytest -n), and their processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"

from hypothesis import settings

# The default draws the same examples in every run, so that a failure is never a matter of luck.
# HYPOTHESIS_PROFILE=nightly (`make test-nightly`) draws new and many more; it prints how to repeat a failure.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100)
settings.register_profile("nightly", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
