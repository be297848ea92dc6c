"""What the three wings share: where things lie, the catalog, kept verdicts, files, nbgrader's converters."""
