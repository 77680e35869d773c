"""Translation as a pipeline: English examples become parallel rows, once, and are found again by content."""
