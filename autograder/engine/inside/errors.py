"""The one kind of error that people are meant to see."""


class UserError(Exception):
    """Bad input, or a file that can't be used: the message is a sentence that says what to do."""
