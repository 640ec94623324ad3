"""Break replays at random and let a referee compare: ``make faults NAME=replay``.

``items``     what a table and its index hold before a run, and what is replayed in it: known to the run and to the referee
``scenario``  what goes wrong in a run, from its seed
``world``     the table, its stream, the consumer, the index and the application of a run; proxies before everything that can fail
``worker``    the process that replays; killed now and then, and begun again
``referee``   the process that compares; it knows nothing of the code that it judges
``run``       one run
``campaign``  many of them

An application writes while the table is replayed, so how many writes a run has depends on the machine; which they are, and what fails,
follows from the seed.
"""
