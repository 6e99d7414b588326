"""The dashboard: a page on this machine that shows a database as it is at this moment. It writes to none.

All that is on screen follows from one frozen state, which the address holds: each tab is a pure function of the state
and the board. No script, style or picture comes from another machine.
"""
