"""Writes every fixture of this folder."""

import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parent
for script in sorted(here.glob("*.py")):
    if script.name not in ("make.py", "golden.py"):
        subprocess.run([sys.executable, script], check=True)
