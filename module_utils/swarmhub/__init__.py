"""The logic behind the modules and filters of swarmhub."""
