"""Starts the processes that run foreign code, and believes nothing that they say."""
