"""Run a module of ``library/``, or another by its full Python name, with options from standard input.

The name is the argument, the options are JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import ansible.module_utils
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).resolve().parents[2]

ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
sys.path.insert(0, str(ROOT / "library"))

module = importlib.import_module(sys.argv[1])
with patch_module_args(json.load(sys.stdin)):
    print("begins", file=sys.stderr, flush=True)  # a test may wait for it
    module.main()
