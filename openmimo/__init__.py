"""The MiMo-7B recipe, whole and runnable."""

import os

# OpenMP threads sleep at a barrier instead of spinning: on a busy machine training with two threads is 10 times faster
# for it, on a quiet one as fast. It must be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
