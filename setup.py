import pathlib

from setuptools import find_packages, setup

OPENVINO = "openvino>=2025.0"
# Processors and Pythons that it has wheels for; elsewhere Keras runs the networks.
OPENVINO_WHEELS = 'platform_machine in "x86_64 AMD64 aarch64 arm64" and python_version < "3.15"'

EXTRAS = {
    "app": ["gradio>=6.31"],
    "docs": ["mkdocs-material>=9.8", "mkdocstrings-python>=2"],
    "app-test": ["gradio>=6.31", "gradio_client>=2", "playwright>=1.50"],  # and a Chromium of the system
    "litert": ["ai-edge-litert>=2.1"],
    "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"],
    "photos": ["pillow-heif>=1.0", "pillow>=11.3", "rawpy>=0.24"],  # HEIC, AVIF, camera raw
    "openvino": [OPENVINO],  # where it is not installed anyway
}

setup(
    name="msmm",
    version="0.2.0.dev0",
    description="Multi-modal multi-scale deep learning for large-scale image annotation, in Keras",
    long_description=pathlib.Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["msmm*", "experiments*", "tfrecords_tools*"]),
    package_data={"msmm": ["starter/*"], "msmm.models": ["trunks/*"], "msmm.photos.review": ["static/*"]},
    install_requires=[  # which lower bounds were tried: docs/research/reliability.md
        "tensorflow>=2.20",
        "tensorflow-datasets>=4.9.7",
        "tensorboard>=2.20",
        "keras>=3.14",  # before 3.12, a saved model could run code
        "protobuf>=6.31.1",  # tensorflow-metadata needs it and does not say so
        "numpy>=1.26",
        "scipy>=1.11",  # L-BFGS of CNN+logistic
        "pillow>=11",
        "absl-py>=2.1",
        "tqdm>=4.66",
        "matplotlib>=3.8",
        f"{OPENVINO}; {OPENVINO_WHEELS}",
        "importlib_resources>=6.0",  # tensorflow-datasets needs it and does not say so
    ],
    extras_require={
        **EXTRAS,
        "beam": ["apache-beam>=2.72"],
        "hub": ["keras-hub>=0.22.2"],
        # All that tests can use, but Beam and KerasHub, whose own dependencies are many.
        "dev": [
            *("mypy>=1.15", "pytest>=8", "pytest-random-order>=1.1", "pytest-xdist>=3.8", "ruff>=0.6"),
            "scikit-learn>=1.4",
            "pyyaml>=6",
            *(package for packages in EXTRAS.values() for package in packages),
        ],
    },
)
