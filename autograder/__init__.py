"""Everything about grading: probes, known mistakes, keys and the engine that compares."""
