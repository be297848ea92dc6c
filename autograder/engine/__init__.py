"""The grading engine. It knows nothing of any course; graders import what they need from `probes`."""
