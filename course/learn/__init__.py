"""The learner's wing: beginning, checking, hints, progress, beginning again."""
