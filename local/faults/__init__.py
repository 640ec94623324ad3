"""Break bulk indexing, and replays, at random and let a referee compare: ``python -m local.faults``, ``make faults``.

``campaign``   many runs, of whatever is broken
``bulk``       the campaign that breaks bulk indexing, in the modules below; ``replay`` the one that breaks replays, in a package of its own

``documents``  what a run sends, from its seed: known to the writer and to the referee
``scenario``   what goes wrong in a run, from its seed
``world``      the proxies, the stream, the index and the bucket of a run
``writer``     the process that loads, settles and sends again; killed now and then
``referee``    the process that compares; it knows nothing of the code that it judges
``run``        one run

Indexes of scheme `none`, and deletes of kind `immediate`, promise less and are not tried here: nothing of theirs is handed over, and a
late write after a real delete is indexed as if there had been none.
"""
