"""Where inputs come from and outputs go to: one small interface, and a registry of kinds behind it.

`open_storage(provider)` gives the `Storage` for a provider as an FDL file names it, `KIND` or `KIND.NAME`.
A kind is one entry of the registry in `storage.py`; `s3` (the function's own account and role) is in `s3.py`.
"""

from runtime.storage.storage import Storage, StoredObject, open_storage, register

__all__ = ["Storage", "StoredObject", "open_storage", "register"]
