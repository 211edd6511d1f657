"""Imports what tests need of other packages, once for all attempts. Each attempt imports its own copy of avsink."""

from __future__ import annotations

import sys

import numpy  # noqa: F401
import pandas  # noqa: F401
import pytest  # noqa: F401
import torch  # noqa: F401

from avsink import compat

compat.enable_torchvision()  # before anything of transformers is imported; it lasts as long as the module
import transformers.models.qwen2_5_omni.modeling_qwen2_5_omni  # noqa: E402, F401
import transformers.models.qwen2_5_omni.processing_qwen2_5_omni  # noqa: E402, F401

for name in [name for name in sys.modules if name.split(".")[0] == "avsink"]:
    del sys.modules[name]
