"""Who may send requests to the embedded cloud, and what they may do.

gatekeeper.py       in front of everything: rejects web pages, foreign hosts and invalid signatures
routes.py           which routes of the emulator are open
credentials.py      the developer's access key, random for each state folder
callers.py          the caller of a request, and credentials of roles
job_credentials.py  the credentials endpoint of Batch jobs
signatures.py       Signature Version 4
signed_chunks.py    uploads to S3 in signed chunks
upload_forms.py     upload forms of browsers
roles.py            the action that a request of a role needs
"""
