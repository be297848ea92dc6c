"""The author's wing: compiling masters, the rules for them, grading the graders."""
