"""``python -m swarmhub_hub`` is what the image starts."""

from swarmhub_hub.app import SwarmhubApp

if __name__ == "__main__":
    SwarmhubApp.launch_instance()
