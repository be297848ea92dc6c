"""The trusted side: what is right, and what a wrong answer has earned."""
