"""What the embedded cloud keeps on disk, and when it is written.

store.py       one SQLite database, `state.db`
saving.py      snapshots of the emulator's services
answers.py     a request is answered when all its effects are on disk
stopping.py    a clean stop
disk_space.py  uploads that the disk has no room for are refused
privacy.py     closes the state folder to other users
"""
