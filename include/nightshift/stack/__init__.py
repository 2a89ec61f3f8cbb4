"""The docker-compose stack: started, watched, asked and stopped.

Standard library only: a machine with Docker and a Python is enough.
"""
