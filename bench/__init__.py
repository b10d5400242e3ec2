"""What the project costs, measured; the lab's helpers and our module_utils are seen from here."""

import tests.conftest  # noqa: F401 - names our module_utils as Ansible does
