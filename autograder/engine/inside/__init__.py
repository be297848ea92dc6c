"""What runs beside foreign code. The sandbox mounts this folder and probes.py; it imports nothing else of ours."""
