"""Makes .venv and puts the pinned requirements into it; does nothing when they are there already.

    python3 deploy/scripts/install_python.py runtime|dev

Runs with the Python of the machine, before anything is installed: the standard library is all it may use.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = {"runtime": ["requirements.txt"], "dev": ["requirements.txt", "requirements-dev.txt"]}
NO_VENV = (
    "This Python cannot make virtual environments: its venv or ensurepip module is missing.\n"
    "On Debian and Ubuntu it is a package of its own; install it and try again:  apt-get install python3-venv"
)


def say(line: str) -> None:
    print(line, flush=True)


def pins(files: Sequence[str]) -> list[str]:
    lines = [line.strip() for name in files for line in (ROOT / name).read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def fingerprint(files: Sequence[str]) -> str:
    """What was asked of which Python: when either changes, the stamp no longer fits."""
    return hashlib.sha256("\n".join([sys.version, *pins(files)]).encode()).hexdigest()


def can_make_venv() -> bool:
    command = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def get_venv_package() -> None:
    """Debian keeps ensurepip in a package of its own; root may fetch it, anybody else is told its name."""
    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get")):
        sys.exit(NO_VENV)
    say("Installing Debian's python3-venv, which this Python needs to make .venv ...")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "python3-venv"]):
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    if not can_make_venv():
        sys.exit(NO_VENV)


def works() -> bool:
    """A .venv of another, or a vanished, Python is made anew."""
    if not PYTHON.exists():
        return False
    check = f"import sys, pip; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})"
    return subprocess.run([PYTHON, "-c", check], capture_output=True, check=False).returncode == 0


def make_venv() -> None:
    if works():
        return
    if not can_make_venv():
        get_venv_package()
    say(f"Making .venv with Python {sys.version_info[0]}.{sys.version_info[1]} ...")
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(VENV)


def install(files: Sequence[str]) -> None:
    """pip, with a line now and then instead of its hundreds."""
    total = len(pins(files))
    say(f"Installing {total} pinned packages from {' and '.join(files)} (a minute or two the first time) ...")
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
    ]
    for name in files:
        command += ["-r", str(ROOT / name)]
    pip = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    seen = 0
    for line in pip.stdout or []:
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            seen += 1
            if seen % 20 == 0 and seen < total:
                say(f"  {seen} of {total}")
        elif line.startswith("Installing collected packages"):
            say("  all here; unpacking")
    if pip.wait() != 0:
        sys.exit("pip could not install the requirements; its own words are above.")


def main(kind: str) -> None:
    files = REQUIREMENTS[kind]
    stamp = VENV / f"{kind}.stamp"
    wanted = fingerprint(files)
    if not (works() and stamp.exists() and stamp.read_text() == wanted):
        make_venv()
        install(files)
        stamp.write_text(wanted)
        say("Python packages are in place.")
    stamp.touch()
    if kind == "dev":  # it holds the runtime's packages too
        (VENV / "runtime.stamp").write_text(fingerprint(REQUIREMENTS["runtime"]))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in REQUIREMENTS:
        sys.exit("usage: install_python.py runtime|dev")
    main(sys.argv[1])
