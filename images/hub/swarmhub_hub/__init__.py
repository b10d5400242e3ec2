"""The hub of a swarmhub: settings, spawner, accounts, and the tasks that keep the swarm and the proxy right."""
