"""Train and evaluate one run, or a grid of runs: ``python train.py --help``."""

from clo.commands.train import main

if __name__ == "__main__":
    main()
