"""Cross-Lingual Optimization: transfer a model's skill from English to another language."""

__version__ = "0.1.0"
