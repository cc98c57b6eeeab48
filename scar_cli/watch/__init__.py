"""`scar watch`: a workflow while it runs.

    looks.py ─► state.py ─► outputs.py ─► view.py, chain.py   the live view of a terminal
    (AWS)       (numbers)                 lines.py            a line or JSON object for each look
         └────► document.py ─► web.py                         the page of `scar report`, on loopback

looks.py     bounded calls to AWS: new lines of logs, numbers of jobs and of messages
state.py     the numbers of each function, from runs that ended and from queues
estimate.py  when everything will be done
outputs.py   where the numbers are shown
view.py      the view, for any size of the terminal
chain.py     functions and folders as lines of a tree
document.py  the document of the page
web.py       an HTTP server for the browser of this user
lines.py     the numbers as text and JSON, and the summary at the end
"""
