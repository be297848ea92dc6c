"""What verdicts say and how they look. Nothing in here decides one, so no grade is out of date when it changes."""
