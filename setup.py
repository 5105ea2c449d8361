"""Packaging of asgm: learning from picture and sound together, from few labels."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ONNX = ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"]
AVE = ["h5py>=3.10", "scikit-learn>=1.4"]
FLOW = ["opencv-python-headless>=4.9"]
RAY = ["ray>=2.30; python_version < '3.14'"]
SERVE = ["starlette>=0.40", "uvicorn>=0.30"]
PYTEST = ["pytest>=8.2", "pytest-randomly>=3.15", "pytest-xdist>=3.6"]
HERE = Path(__file__).parent
README = HERE / "README.md"
(VERSION,) = re.findall(r'^__version__ = "(.+)"$', (HERE / "asgmcli" / "__init__.py").read_text(), re.MULTILINE)
RECIPES = sorted(path.relative_to(HERE).as_posix() for path in HERE.glob("recipes/**/*.yaml"))


class BuildWithRecipes(build_py):
    """Put the recipes, which lie at the top of the repository, into the package that a wheel carries."""

    def run(self) -> None:
        """Copy them beside the modules; an editable install finds them where they are."""
        super().run()
        if not self.editable_mode:
            for source, target in self._recipes().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def _recipes(self) -> dict[str, str]:
        return {source: str(Path(self.build_lib, "asgmcli", source)) for source in RECIPES}

    def get_source_files(self) -> list[str]:
        """Return what a source distribution holds."""
        return [*super().get_source_files(), *RECIPES]  # type: ignore[no-untyped-call]  # the stubs leave it out

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return what is installed."""
        return [*super().get_outputs(include_bytecode), *self._recipes().values()]


setup(
    name="asgm",
    version=VERSION,
    description="Learn from picture and sound together, from few labels: ASGM-Former, AV-BT and TACMA, HAN, UFE.",
    author="The asgm authors",
    keywords=[
        "semi-supervised learning",
        "audio-visual learning",
        "action recognition",
        "sound localization",
        "video",
        "event localization",
        "video parsing",
        "audio-visual segmentation",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Operating System :: MacOS",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Multimedia :: Video",
        "Typing :: Typed",
    ],
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    cmdclass={"build_py": BuildWithRecipes},
    packages=find_packages(include=["asgmcli", "asgmcli.*"]),
    package_data={"asgmcli": ["py.typed", "report/page.html", "serve/page.html", "serve/app.js"]},
    install_requires=[
        # Each torchvision asks for its torch. torchaudio does not, and no command needs it to load: asgm doctor tells.
        "torch>=2.11",
        "torchvision>=0.26",
        "torchaudio>=2.11",
        "timm>=1.0.15",
        # PyAV 19 (Python 3.12 and newer) takes other arguments, and reads other lengths of sound.
        "av>=17,<19",
        # decord publishes wheels for Linux and Windows on x86-64 only; PyAV is the default reader.
        'decord>=0.6; sys_platform != "darwin" and (platform_machine == "x86_64" or platform_machine == "AMD64")',
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
        # Before 4 a process that is refused empties the file that names the holder.
        "filelock>=4",
        "pebble>=5.1",
        "jinja2>=3.1",
    ],
    extras_require={
        "tensorboard": ["tensorboard>=2.14"],
        "wandb": ["wandb>=0.17"],
        "onnx": ONNX,
        # Released features of AVE (.h5), and the t-SNE of its figures; Farneback's optical flow.
        "ave": AVE,
        "flow": FLOW,
        # A local page to drop clips on.
        "ray": RAY,
        "serve": SERVE,
        "test": [
            *ONNX,
            *AVE,
            *FLOW,
            *RAY,
            *SERVE,
            *PYTEST,
            "setuptools>=68",
            "ruff>=0.6",
            "mypy>=1.11",
            "types-PyYAML",
            "types-setuptools",
        ],
    },
    entry_points={"console_scripts": ["asgm = asgmcli.cli:main"]},
)
