"""The history of a session stays off the home: sqlite on NFS hangs kernels and corrupts itself."""

c = get_config()  # noqa: F821

c.HistoryManager.hist_file = "/tmp/ipython_history.sqlite"  # noqa: S108
