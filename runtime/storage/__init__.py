"""Downloads of inputs, and uploads of outputs.

contract.py     what every kind of storage can do
kinds.py        the kinds, by the provider's name in the FDL file, and connections with a name
s3.py           `s3`: the function's own account and role
s3_keyed.py     `s3.NAME`, another account, and `minio.NAME`, any S3-compatible server
s3_upload.py    many files to S3
s3_once.py      files that are written once (`once`)
webdav.py       `webdav.NAME`
onedata.py      `onedata.NAME`
file_server.py  common to file servers over HTTP: folders, temporary names
http.py         their HTTP: retries, redirects, meaning of statuses
address.py      addresses of servers
secrets.py      secrets of connections
upload_time.py  whether there is time for an upload
"""

from runtime.storage.contract import Storage, StoredObject, Upload
from runtime.storage.kinds import open_storage

__all__ = ["Storage", "StoredObject", "Upload", "open_storage"]
