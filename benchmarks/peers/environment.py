"""Pythons with the packages of peers, each made once under the build folder."""

import os
import pathlib
import platform
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def say(text):
    print(text, file=sys.stderr, flush=True)


# What PyTorch is tried with, and the fastest taken.
SETTINGS = [["--precision", precision, *layout] for precision in ["f32", "bf16"] for layout in [[], ["--channels-last"]]]


def pytorch_arguments(parser):
    """The arguments of a peer in PyTorch, with those that its speed depends on."""
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def run(*command):
    """What a program prints; its errors end this one."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def environment(name, *packages):
    """A Python with the packages."""
    folder = TARGET / "peers" / name
    python = folder / "bin" / "python"
    marker = folder / "installed"
    if not marker.exists():
        say(f"installing {', '.join(packages)} into {folder}")
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        marker.touch()
    return python


def gander():
    """The release build, made if need be."""
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "gander-cli"], cwd=ROOT, check=True)
    return TARGET / "release" / "gander"


def processor():
    facts = pathlib.Path("/proc/cpuinfo")
    for line in facts.read_text().splitlines() if facts.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
