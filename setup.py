"""Packaging of asgm: audio-source-localization-guided semi-supervised action recognition."""

from pathlib import Path

from setuptools import find_packages, setup

ONNX = ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"]
README = Path(__file__).parent / "README.md"

setup(
    name="asgm",
    version="0.1.0",
    description="Train action recognition from a handful of labelled clips and many unlabelled ones, with sound.",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["asgmcli", "asgmcli.*"]),
    package_data={"asgmcli": ["py.typed"]},
    install_requires=[
        # torchaudio 2.11 is the last release and loads only beside the torch it was built for.
        "torch==2.11.*",
        "torchvision==0.26.*",
        "torchaudio==2.11.*",
        "timm>=1.0.15",
        "av>=17",
        # decord publishes x86-64 wheels only; PyAV is the default reader.
        'decord>=0.6; platform_machine == "x86_64" or platform_machine == "AMD64"',
        "click>=8.1",
        "rich>=13",
        "pyyaml>=6",
        "pydantic>=2.6",
        "numpy>=1.26",
        "scipy>=1.11",
        "torchmetrics>=1.4",
        "matplotlib>=3.8",
        "pillow>=10.1",
        "safetensors>=0.4.3",
    ],
    extras_require={
        "tensorboard": ["tensorboard>=2.14"],
        "wandb": ["wandb>=0.17"],
        "onnx": ONNX,
        "test": [*ONNX, "pytest>=8", "ruff>=0.6", "mypy>=1.11", "types-PyYAML", "types-setuptools"],
    },
    entry_points={"console_scripts": ["asgm = asgmcli.cli:main"]},
)
