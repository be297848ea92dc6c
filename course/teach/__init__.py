"""The teacher's wing: gradebooks, submissions, grading, feedback, what students receive."""
