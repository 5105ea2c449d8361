"""Check that the packages load together, in a child process, so that a crash becomes one line."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from asgmcli.doctor.findings import Finding

# In the order a training imports them: import name and pip's name.
NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "timm": "timm",
    "torchmetrics": "torchmetrics",
    "av": "av",
    "numpy": "numpy",
    "scipy": "scipy",
    "matplotlib": "matplotlib",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "pydantic": "pydantic",
    "jinja2": "jinja2",
    "yaml": "pyyaml",
    "rich": "rich",
    "click": "click",
}
OPTIONAL = {"decord": "decord has wheels for Linux and Windows on x86-64; only clip.backend: decord needs it"}
EXTRAS = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "ave": ("h5py", "sklearn"),
    "flow": ("cv2",),
    "serve": ("starlette", "uvicorn"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "test": ("pytest",),
}
PROBE_SECONDS = 300.0
PACKAGES, DEVICES, EXTRA = "packages", "devices", "extras"


def look_at_packages() -> list[Finding]:
    """Import all packages together in another process, and try each device that torch finds there."""
    extras = [name for names in EXTRAS.values() for name in names]
    asked = [*NEEDED, *(name for name in (*OPTIONAL, *extras) if importlib.util.find_spec(name) is not None)]
    packages, devices = probe(asked)
    torch = packages.get("torch", {}).get("version", "")
    findings = [_package(name, packages[name], torch) for name in NEEDED]
    for name, why in OPTIONAL.items():
        there = name in packages
        findings.append(_package(name, packages[name], torch) if there else Finding(PACKAGES, name, f"not here: {why}"))
    findings += [_device(line) for line in devices]
    return findings + [_extra(extra, names, packages, torch) for extra, names in EXTRAS.items()]


def probe(names: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[dict[str, str]]]:
    """Import `names` one after the other in another process; one that kills the process is skipped in the next try.

    Returns:
        By package `version` and `error` (empty where it loads), and the devices' lines.
    """
    packages: dict[str, dict[str, str]] = {}
    devices: list[dict[str, str]] = []
    killers: set[str] = set()
    while True:
        code, lines = _run([name for name in names if name not in killers])
        packages |= {line["package"]: line for line in lines if "package" in line}
        devices = [line for line in lines if "device" in line]
        begun = [line["begin"] for line in lines if "begin" in line]
        if not code or not begun or begun[-1] in packages or begun[-1] in killers:
            break
        killers.add(begun[-1])
        packages[begun[-1]] = {"version": "", "error": f"importing it ends the process{_by(code)}"}
    if code and not devices and not packages.get("torch", {}).get("error"):
        devices = [{"device": "all", "version": "", "error": f"trying them ended the process{_by(code)}"}]
    unknown = {"version": "", "error": "could not be tried: what was imported before it ended the process"}
    return {name: packages.get(name, unknown) for name in names}, devices


def _run(names: Sequence[str]) -> tuple[int, list[dict[str, str]]]:
    """Return the exit code of a probe, and the lines that it wrote."""
    command = [sys.executable, "-m", "asgmcli.doctor.probe", *names]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS)
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        code, output = -signal.SIGKILL, late.stdout or b""
    return code, [json.loads(line) for line in output.splitlines() if line.startswith(b"{") and line.endswith(b"}")]


def _by(code: int) -> str:
    return f" (by {signal.Signals(-code).name})" if code < 0 else f" (exit code {code})"


def _package(name: str, line: Mapping[str, str], torch: str) -> Finding:
    if not line["error"]:
        return Finding(PACKAGES, name, line["version"] or "loads")
    return Finding(PACKAGES, name, f"does not load: {line['error']}", _mend(name, line["error"], torch))


def _mend(name: str, error: str, torch: str) -> str:
    """Return how to install a `name` that loads."""
    package = NEEDED.get(name, name)
    if error.startswith("ModuleNotFoundError: No module named") and f"'{name}'" in error:
        return f"pip install {package}"
    if name == "torchaudio":
        # 2.11.1 wants what torch has since 2.13; 2.11.0 loads beside those before.
        old = torch.startswith(("2.11.", "2.12."))
        return f"pip install {'torchaudio==2.11.0' if old else '-U torch torchvision torchaudio'} (no command needs it)"
    if name in ("torch", "torchvision", "timm", "torchmetrics"):
        return "pip install -U torch torchvision torchaudio, or in a clone: pip install -c requirements.lock -e ."
    return f"pip install --force-reinstall {package}"


def _device(line: Mapping[str, str]) -> Finding:
    if not line["error"]:
        return Finding(DEVICES, line["device"], line["version"])
    mend = "update its driver, or install a torch that is built for it (pytorch.org); --device cpu works without it"
    mend = "pip install --force-reinstall torch" if line["device"] == "cpu" else mend
    return Finding(DEVICES, line["device"], f"does not compute: {line['error']}", mend)


def _extra(extra: str, names: Sequence[str], packages: Mapping[str, Mapping[str, str]], torch: str) -> Finding:
    """Report on an extra: if it is not installed that is no fault; if it does not load it is."""
    missing = [name for name in names if name not in packages]
    if missing:
        return Finding(EXTRA, extra, f"not installed; pip install 'asgm[{extra}]' adds {', '.join(missing)}")
    for name in names:
        if packages[name]["error"]:
            found = f"{name} does not load: {packages[name]['error']}"
            return Finding(EXTRA, extra, found, _mend(name, packages[name]["error"], torch))
    return Finding(EXTRA, extra, ", ".join(f"{name} {packages[name]['version']}".strip() for name in names))
