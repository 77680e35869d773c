"""From rows to packed tensors: reading, rendering, splitting, batching."""
