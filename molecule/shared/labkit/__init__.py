"""The parts of the lab: a whole cluster of container hosts on one Debian machine. Standard library only."""
