"""swarmhub: a JupyterHub on Docker Swarm, brought up and kept by Ansible."""

__version__ = "0.1.0"
