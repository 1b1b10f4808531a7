"""Packaging: what flanmix needs, and where its tasks and gin files go when it is installed.

The description of the project is in pyproject.toml; what is computed or takes a reason is here.

`tasks/` and `gin/` lie beside the package in a checkout, where people read and edit them, and are
installed as `flanmix/_tasks` and `flanmix/_gin`; `flanmix.registry.paths` finds either. t5 is in
the pinned list only (requirements.txt): what it asks for overwrites the files of the released seqio
and tensorflow-datasets.
"""

from setuptools import find_packages, setup

REQUIRED = [
    'jax==0.10.2; python_version < "3.12"',
    'jax>=0.12,<0.13; python_version >= "3.12"',
    "flax>=0.12.8",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12",
    "tensorstore>=0.1.80",
    "grain>=0.2.18",
    "array-record>=0.8",
    "gin-config>=0.5",
    "jaxtyping>=0.3",
    "sentencepiece>=0.2",
    "tokenizers>=0.22",
    "safetensors>=0.6",
    "gguf>=0.19",
    "huggingface-hub>=1",
    "pyyaml>=6",
    "numpy>=2",
    "scipy>=1.17",
    "tqdm>=4.60",
    "seqio>=0.0.20",
    "tensorflow-datasets>=4.9.10",
    "importlib-resources>=6",  # TFDS imports it to download a dataset, and does not ask for it
    "sacrebleu>=2.6",
    "rouge-score>=0.1.2",
    "scikit-learn>=1.7",
    "tensorboardX>=2.6",
    "jinja2>=3.1",
    "markupsafe>=3",
]

EXTRAS = {
    "dev": [
        *("pytest>=9", "pytest-xdist>=3.8", "hypothesis>=6", "beartype>=0.23"),
        *("ruff", "pyrefly", "deptry"),
    ],
    "tpu": ["jax[tpu]"],
    "gpu": ["jax[cuda12]"],
    "bench": ["torch>=2.4", "transformers>=5"],
}

setup(
    version="0.1.0",
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    packages=[*find_packages(include=["flanmix", "flanmix.*"]), "flanmix._gin", "flanmix._tasks"],
    package_dir={"flanmix._gin": "gin", "flanmix._tasks": "tasks"},
    package_data={
        "flanmix": ["py.typed"],
        "flanmix.pages": ["style.css", "templates/*.j2"],
        "flanmix._gin": ["**/*.gin"],
        "flanmix._tasks": ["**/*.yaml", "**/*.py", "**/*.model"],
    },
    entry_points={"console_scripts": ["flanmix = flanmix.cli:console"]},
)
