"""Public benchmarks: options scored on the packed path, numbers and short answers generated, or lm-eval itself."""
