"""Where inputs come from and outputs go to: one small interface, and a registry of kinds behind it.

`open_storage(provider, providers)` gives the `Storage` for a provider as an FDL file names it:

- `s3`, the function's own account and role: `s3.py`;
- `s3.NAME`, another account, and `minio.NAME`, any server that speaks S3: the same with keys, `s3_keyed.py`;
- `webdav.NAME` (`webdav.py`) and `onedata.NAME` (`onedata.py`): servers of files over HTTP. What they share
  is in `file_server.py` (folders, temporary names, what is done in parallel), `http.py` (retries, redirects,
  what a status means), `connections.py` and `address.py`.

A connection with a name (`named.py`) takes its secrets from `secrets.py`, when it is first used, and once
more if they are refused: somebody may have changed them. A kind is one entry of the registry in `storage.py`.
"""

from runtime.storage.storage import Storage, StoredObject, open_storage, register

__all__ = ["Storage", "StoredObject", "open_storage", "register"]
