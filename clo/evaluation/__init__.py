"""Generation, language fidelity, exact scores and statistics: what a run is judged by."""
