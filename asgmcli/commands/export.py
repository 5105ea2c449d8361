"""`asgm export`: a trained network as one ONNX file for programs without torch."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asgmcli.options import json_option, refuse_to_replace


@click.command("export", short_help="write a network as ONNX, with code that needs no torch")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: model.onnx beside the weights]")
@click.option("--overwrite", is_flag=True, help="Replace the file where it is there.")
@json_option
def command(target: Path, out: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write the network TARGET, the folder of a run or a weight file, as ONNX.

    A recognizer takes frames (uint8) and mono sound at 16 kHz, for any number of views, and returns a probability for
    each class; class names and sizes are stored in the file. Beside it lies infer.py, which asks it about clips and
    needs no torch: python infer.py model.onnx CLIP... (numpy, av, onnxruntime). ONNX Runtime's output is compared with
    torch's before the file is kept. Needs pip install "asgm[onnx]".

    \b
    asgm export runs/demo/asgm_former/seed0
    asgm export runs/demo/asgm_former/seed0/model.safetensors --out recognizer.onnx
    """
    import torch

    from asgmcli.console import make_console
    from asgmcli.runs.target import find_trained

    console = make_console()
    found = find_trained(target)
    path = out or found.weights.with_suffix(".onnx")
    refuse_to_replace([path, path.with_name("infer.py")], overwrite)
    done = found.load(torch.device("cpu")).export(path)
    inputs = {name: f"[{', '.join(map(str, shape))}]" for name, shape in done.inputs.items()}
    shown = ", ".join(f"{name} {shape}" for name, shape in inputs.items())
    size, off = f"{done.bytes / 1e6:.1f} MB", f"{done.difference:.1g}"
    console.print(f"Wrote {path} ({size}): {shown} -> probabilities; at most {off} off torch's.")
    if as_json:
        result = {"path": str(path), "inputs": done.inputs, "difference": done.difference, "bytes": done.bytes}
        click.echo(json.dumps(result))
