"""The data of the embedded cloud on disk, and when it is written.

store.py       one SQLite database, `state.db`
saving.py      snapshots of the emulator's services
answers.py     a request is answered after all its effects are on disk
stopping.py    a clean stop
disk_space.py  uploads that do not fit on the disk are rejected
privacy.py     closes the state folder to other users
"""
