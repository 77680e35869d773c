"""Loading a causal language model and choosing what trains."""
