"""Jupyter's own databases stay off the home: sqlite on NFS hangs kernels and corrupts itself."""

c = get_config()  # noqa: F821

c.NotebookNotary.db_file = ":memory:"
c.FileIdExtension.file_id_manager_class = "jupyter_server_fileid.manager.ArbitraryFileIdManager"
c.BaseFileIdManager.db_path = "/tmp/file_id_manager.db"  # noqa: S108
