import pathlib

from setuptools import find_packages, setup

EXTRAS = {
    "app": ["gradio>=6.31"],
    "app-test": ["gradio>=6.31", "gradio_client>=2", "playwright>=1.50"],  # and a Chromium of the system
    "litert": ["ai-edge-litert>=2.1"],
    "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"],
    "openvino": ["openvino>=2025.0"],
}

setup(
    name="msmm",
    version="0.1.0",
    description="Multi-modal multi-scale deep learning for large-scale image annotation, in Keras",
    long_description=pathlib.Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["msmm*", "experiments*", "tfrecords_tools*"]),
    install_requires=[  # which lower bounds were tried: RELIABILITY.md
        "tensorflow>=2.20",
        "tensorflow-datasets>=4.9.7",
        "tensorboard>=2.20",
        "keras>=3.14",  # before, engines.folding does not work; before 3.12, a saved model could run code
        "protobuf>=6.31.1",  # tensorflow-metadata needs it and does not say so
        "numpy>=1.26",
        "pillow>=11",
        "absl-py>=2.1",
        "tqdm>=4.66",
        "importlib_resources>=6.0",  # tensorflow-datasets needs it and does not say so
    ],
    extras_require={
        **EXTRAS,
        "beam": ["apache-beam>=2.72"],
        "hub": ["keras-hub>=0.20"],
        # All that tests can use, but Beam and KerasHub, whose own dependencies are many.
        "dev": [
            *("pytest>=8", "ruff>=0.6", "scikit-learn>=1.4", "pyyaml>=6"),
            *(package for packages in EXTRAS.values() for package in packages),
        ],
    },
)
